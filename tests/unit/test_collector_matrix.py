"""The store and the JSON made of it: four states, none in another's guise, and no number for a loss."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from monlat_ebpf.collector.fetch import AskError, Failure
from monlat_ebpf.collector.matrix import MEASURES, render_matrix
from monlat_ebpf.collector.metrics import render_latencies
from monlat_ebpf.collector.pair import Detail, Direction, direction_document
from monlat_ebpf.collector.store import Store
from monlat_ebpf.model import Peer
from tests.unit.collector_rows import NODES, results, row

FAILED = AskError(Failure.TIMEOUT, "does not answer in time")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store:
    made = Store(stale_after_seconds=14.0, history_bytes=1 << 20, clock=clock, wall_clock=clock)
    made.set_peers(peers("node10", *NODES))
    return made


def peers(*names: str, zone: str = "a") -> Sequence[Peer]:
    return [Peer(name, (ip_address("10.0.0.1"),), zone) for name in names]


def matrix(store: Store, measure: str = "rtt") -> dict[str, Any]:
    text = b"".join(render_matrix(store.view(), measure, unix_seconds=1.5, interval_seconds=5.0))
    document: dict[str, Any] = json.loads(text)
    return document


def test_states_and_numbers_of_all_cells(store: Store, clock: Clock) -> None:
    """node1 lost node3; node2 does not probe node10; node3 has become stale; node10 never answered."""
    store.answered("node1", row("node1", {"node10": 1.5e-3, "node3": None, "node2": 436e-6}))
    store.answered("node2", row("node2", {"node1": 2e-3, "node3": 3e-3}))
    store.answered("node3", row("node3", {"node1": 4e-3, "node2": 5e-3}))
    clock.now += 2
    store.failed("node3", FAILED)
    store.failed("node3", FAILED)
    document = matrix(store)
    assert [node["name"] for node in document["nodes"]] == ["node1", "node2", "node3", "node10"]
    assert document["states"] == ["-mlm", "m-mn", "ss-n", "sss-"]
    assert document["values_seconds"] == [[436e-6, 1.5e-3], [2e-3, 3e-3], [], []]
    assert [node["age_seconds"] for node in document["nodes"]] == [2.0, 2.0, 2.0, None]
    assert [node["is_stale"] for node in document["nodes"]] == [False, False, True, True]
    assert document["nodes"][2]["failure"] == "timeout"
    assert (document["measure"], document["unix_seconds"], document["interval_seconds"]) == ("rtt", 1.5, 5.0)


def test_one_failure_is_not_stale_and_a_good_answer_ends_it(store: Store) -> None:
    """The question after it decides."""
    store.answered("node1", row("node1", {"node2": 1e-3}))
    store.failed("node1", FAILED)
    assert matrix(store)["states"][0] == "-mnn"
    store.failed("node1", FAILED)
    assert matrix(store)["states"][0] == "-snn"
    store.answered("node1", row("node1", {"node2": 1e-3}))
    assert matrix(store)["states"][0] == "-mnn"
    assert matrix(store)["nodes"][0]["failure"] is None


def test_old_answer_is_stale_without_a_failure(store: Store, clock: Clock) -> None:
    """14 s are the present, more are not: the agent may be waiting for its turn for ever."""
    store.answered("node1", row("node1", {"node2": 1e-3}))
    clock.now += 14.0
    assert matrix(store)["states"][0] == "-mnn"
    clock.now += 0.01
    assert matrix(store)["states"][0] == "-snn"


def test_number_that_is_not_known_is_null(store: Store) -> None:
    """The pair is measured; its peer has not reported yet."""
    unknown = {"network_rtt_seconds": {"last": None, "p50": None, "p99": None}}
    store.answered("node1", row("node1", {"node2": 1e-3}, **unknown))
    document = matrix(store, "network_rtt")
    assert document["states"][0] == "-mnn"
    assert document["values_seconds"][0] == [None]


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_has_the_same_states(store: Store, measure: str) -> None:
    """And its numbers under a key that ends in its unit, one for each measured cell."""
    store.answered("node1", row("node1", {"node2": 1e-3, "node3": None}))
    document = matrix(store, measure)
    assert document["states"][0] == "-mln"
    (key,) = (key for key in document if key.startswith("values_"))
    assert key == f"values_{MEASURES[measure]}"
    assert len(document[key][0]) == 1


def test_node_that_leaves_takes_its_row_and_column(store: Store) -> None:
    """And those that stay keep theirs."""
    store.answered("node1", row("node1", {"node2": 1e-3, "node3": 3e-3}))
    store.set_peers(peers("node1", "node3"))
    assert matrix(store)["states"] == ["-m", "s-"]
    assert matrix(store)["values_seconds"] == [[3e-3], []]
    store.answered("node2", row("node2", {"node1": 1e-3}))
    assert [node["name"] for node in matrix(store)["nodes"]] == ["node1", "node3"]


def test_ratio_to_the_past_is_the_last_over_the_median(store: Store, clock: Clock) -> None:
    """Twelve answers of 1 ms, then 3 ms: three times."""
    for _ in range(13):
        clock.now += 5
        store.answered("node1", row("node1", {"node2": 1e-3}))
    clock.now += 1
    store.answered("node1", row("node1", {"node2": 3e-3}))
    assert matrix(store, "rtt_over_past")["values_ratio"][0] == pytest.approx([3.0], rel=0.001)


def test_metrics_have_each_measured_pair_once(store: Store) -> None:
    """In milliseconds, exactly as the agent counts nanoseconds; lost, stale and unprobed pairs are absent."""
    store.answered("node1", row("node1", {"node2": 0.000436123, "node3": None, "node10": 1e-3}))
    store.answered("node2", row("node2", {"node1": 2e-3}))
    store.failed("node2", FAILED)
    store.failed("node2", FAILED)
    lines = b"".join(render_latencies(store.view())).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'latency_between_nodes{from="node1",to="node2"} 0.436123',
        'latency_between_nodes{from="node1",to="node10"} 1.0',
    ]


def test_pair_keeps_the_last_numbers_of_a_stale_direction_with_their_age(store: Store, clock: Clock) -> None:
    """The state says that they are old."""
    store.answered("node1", row("node1", {"node2": 1e-3}, results=results(reply=4)))
    clock.now += 60
    node, to = store.node("node1"), store.node("node2")
    assert node is not None
    assert to is not None
    found = direction_document(Direction(node, to, store.history("node1", "node2"), None, Detail(None, None, "hangs")))
    assert found["state"] == "stale"
    assert found["agent"]["age_seconds"] == 60
    assert found["last"]["rtt_seconds"] == 1e-3
    assert found["last"]["loss_ratio"] is None
    assert found["history"]["unix_seconds"] == [1000]
    assert found["history"]["rtt_seconds"] == pytest.approx([1e-3], rel=0.0003)
    assert found["detail"] is None
    assert found["detail_failure_text"] == "hangs"


def test_state_of_a_pair_is_its_own(store: Store) -> None:
    """node1 measures node2, has lost node3 and does not probe node10, in one row."""
    store.answered("node1", row("node1", {"node2": 1e-3, "node3": None}))
    views = {name: store.node(name) for name in ("node1", "node2", "node3", "node10")}
    node = views.pop("node1")
    assert node is not None
    states = [direction_document(Direction(node, to, (), None, None))["state"] for to in views.values() if to]
    assert states == ["measured", "lost", "not_probed"]


def test_point_of_the_history_says_whether_a_probe_was_lost_since_the_one_before(store: Store, clock: Clock) -> None:
    """By the counters: the last probe of each answer was answered, and one before the second answer was not."""
    for lost in (5, 6, 6):
        clock.now += 5
        store.answered("node1", row("node1", {"node2": 1e-3}, results=results(reply=9, lost_return=lost)))
    clock.now += 5
    store.answered("node1", row("node1", {"node2": None}, results=results(reply=9, lost_return=7)))
    points = store.history("node1", "node2")
    assert [point.is_lost for point in points] == [False, True, False, True]
    assert points[3].rtt_seconds is None


def test_distribution_counts_the_history_in_the_agents_buckets(store: Store, clock: Clock) -> None:
    """Nine points of 1 ms and one of 10 ms. Edges are 2^(k/8) s: 2^(-79/8) = 1.065 ms and 2^(-53/8) = 10.13 ms."""
    for rtt in [1e-3] * 9 + [10e-3]:
        clock.now += 5
        store.answered("node1", row("node1", {"node2": rtt}))
    node, to = store.node("node1"), store.node("node2")
    assert node is not None
    assert to is not None
    found = direction_document(Direction(node, to, store.history("node1", "node2"), None, None))["distribution"]
    assert found["samples"] == 10
    assert found["counts"] == [9, 1]
    assert found["edges_seconds"] == pytest.approx([2 ** (-79 / 8), 2 ** (-53 / 8)])
    assert math.isclose(sum(found["counts"]), 10)
