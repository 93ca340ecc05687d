"""The input of a diagnosis: what it accepts, its samples, and the state of a cell."""

from __future__ import annotations

from array import array

import pytest

from monlat_ebpf.abi.histogram import bucket_of, of_samples
from monlat_ebpf.diagnosis.window import NONE, CellState, Health, Node, Row, Samples, Window
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import nodes, window

HEALTHY = Health(sent=15)


def row(peers: list[int], replies: list[int]) -> Row:
    empty = Samples.of(b"" for _ in peers)
    return Row(array("I", peers), {Result.REPLY: array("I", replies)}, empty, HEALTHY)


def test_samples_are_kept_by_peer() -> None:
    """Three peers with 3, 0 and 4 samples: counts, the middle ones, and how many are above limits."""
    samples = Samples.of([bytes([5, 6, 9]), b"", bytes([1, 2, 3, 4])])
    assert samples.counts() == [3, 0, 4]
    assert samples.medians() == [6, NONE, 3]
    assert samples.counts_above([5, 0, 2]) == [2, 0, 2]
    assert samples.counts_above([9, 9, 0]) == [0, 0, 4]


def test_samples_of_histograms() -> None:
    """A histogram becomes one byte a sample, in order of the buckets."""
    times = [900_000, 100_000, 100_000, 7_000_000_000]
    samples = Samples.of_histograms([of_samples(times), of_samples([])])
    assert list(samples.buckets) == [bucket_of(time) for time in sorted(times)]
    assert list(samples.ends) == [4, 4]


def test_four_states_of_a_cell() -> None:
    """Measured: some replies. Lost: none. Not probed: no probe has ended. Stale: no answer of the agent."""
    of = nodes("abcd")
    seen = window(
        of,
        lost={("a", "b"): {Result.LOST_NETWORK: 14}, ("a", "c"): {Result.LOST_FORWARD: 15}},
        not_probed=[("a", "d")],
        silent=["d"],
    )
    assert [seen.state(0, peer) for peer in (1, 2, 3)] == [CellState.MEASURED, CellState.LOST, CellState.NOT_PROBED]
    assert seen.state(3, 0) is CellState.STALE


def test_a_probed_peer_without_an_ended_probe_is_not_probed_yet() -> None:
    """A new peer has probes in flight only: neither lost nor measured."""
    new = Window(nodes("ab"), [row([1], [0]), None])
    assert new.state(0, 1) is CellState.NOT_PROBED


@pytest.mark.parametrize(
    ("of", "rows", "message"),
    [
        ([Node("a", "1"), Node("b", "2"), Node("c", "1")], [None, None, None], "the nodes of a zone must follow"),
        ([Node("a"), Node("a")], [None, None], "two nodes have the same name"),
        ([Node("a"), Node("b")], [None], "a row for each node"),
        ([Node("a"), Node("b")], [row([0], [15]), None], "the row of a has a peer that is no other node"),
        ([Node("a"), Node("b")], [row([2], [15]), None], "the row of a has a peer that is no other node"),
    ],
)
def test_windows_that_fit_no_cluster_are_rejected(of: list[Node], rows: list[Row | None], message: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(ValueError, match=message):
        Window(tuple(of), rows)


def test_rows_with_unequal_arrays_are_rejected() -> None:
    """Every array has an entry for each peer, and peers are in order."""
    with pytest.raises(ValueError, match="an entry for each peer"):
        row([0, 1], [15])
    with pytest.raises(ValueError, match="ascending"):
        row([1, 0], [15, 15])


def test_zones_are_ranges_of_nodes() -> None:
    """Nodes without a zone are one zone of their own."""
    seen = Window(nodes("abcde", {"a": "x", "d": "x", "b": "y"}), [None] * 5)
    assert [node.name for node in seen.nodes] == ["c", "e", "a", "d", "b"]
    assert seen.zone_ranges() == {"": range(2), "x": range(2, 4), "y": range(4, 5)}
