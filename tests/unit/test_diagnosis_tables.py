"""Windows as tables, and the sums of several windows."""

from __future__ import annotations

import pytest

from monlat_ebpf.diagnosis.tables import (
    LEAST_BACKGROUND,
    MOST_BACKGROUND,
    REMEMBERED,
    LossHistory,
    Table,
    host_loss_table,
    learned_background,
    loss_table,
)
from monlat_ebpf.diagnosis.window import Window
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import Cell, nodes, window

OF = nodes("abc")
RATE = 1e-3


def counts(table: Table) -> dict[tuple[int, int], tuple[int, int]]:
    """Return (shown, trials) by sender and peer."""
    return {
        (sender, peer): (table.shown[sender][i], table.trials[sender][i])
        for sender, peers in enumerate(table.peers)
        for i, peer in enumerate(peers)
    }


def test_losses_by_where_they_happened() -> None:
    """What the host lost never left it: it is no trial of the network."""
    seen = window(
        OF,
        lost={
            ("a", "b"): {Result.LOST_FORWARD: 1, Result.LOST_RETURN: 2, Result.LOST_NETWORK: 3, Result.UNREACHABLE: 1},
            ("a", "c"): {Result.LOST_HOST: 4, Result.SEND_ERROR: 1},
        },
    )
    assert counts(loss_table(seen, {}, RATE)) == {
        (0, 1): (7, 15), (0, 2): (0, 10), (1, 0): (0, 15), (1, 2): (0, 15), (2, 0): (0, 15), (2, 1): (0, 15),
    }  # fmt: skip
    host = counts(host_loss_table(seen, {}, RATE))
    assert host[0, 2] == (5, 15)
    assert sum(shown for shown, _ in host.values()) == 5


def test_cells_without_a_witness_are_not_in_the_table() -> None:
    """The agent of a did not answer, that of b is starved, and c does not probe b."""
    seen = window(OF, silent=["a"], not_probed=[("c", "b")])
    assert counts(loss_table(seen, {1}, RATE)) == {(2, 0): (0, 15)}


def several(*losses: dict[Cell, dict[Result, int]]) -> tuple[LossHistory, Window, Table]:
    history = LossHistory()
    for lost in losses:
        seen = window(OF, lost=lost)
        latest = loss_table(seen, {}, RATE)
        history.add(seen, latest)
    return history, seen, history.table(seen, latest)


def test_several_windows_without_the_worst_one() -> None:
    """1 + 2 + 1 losses of a cell: the 2 are left out, and so are the trials of one window."""
    _, _, table = several(*({("a", "b"): {Result.LOST_FORWARD: lost}} for lost in (1, 2, 1)))
    assert counts(table)[0, 1] == (2, 30)
    assert counts(table)[1, 0] == (0, 30)
    assert table.windows == 3


def test_a_burst_is_no_evidence_for_a_low_rate() -> None:
    """15 losses in one of 8 windows leave none."""
    burst: list[dict[Cell, dict[Result, int]]] = [{} for _ in range(REMEMBERED)]
    burst[3] = {("a", "b"): {Result.LOST_NETWORK: 15}}
    _, _, table = several(*burst)
    assert table.totals()[0] == 0


def test_no_more_losses_than_trials() -> None:
    """Two windows with 15 losses each, then one with a single probe: 2 trials, and not 15 losses in them."""
    history = LossHistory()
    for seen in (window(OF, lost={("a", "b"): {Result.LOST_NETWORK: 15}}),) * 2 + (window(OF, probes=1),):
        latest = loss_table(seen, {}, RATE)
        history.add(seen, latest)
    assert counts(history.table(seen, latest))[0, 1] == (2, 2)


def test_windows_are_forgotten() -> None:
    """After 8 windows without losses, nothing is left of earlier ones."""
    lossy = {("a", "b"): {Result.LOST_FORWARD: 5}}
    history, seen, table = several(*[lossy] * 3, *[{}] * REMEMBERED)
    assert table.totals()[0] == 0
    assert history.directed(seen, REMEMBERED) == {}


def test_directions_of_several_windows() -> None:
    """Losses with a direction, and all of them; and those of the last windows alone."""
    history, seen, _ = several(
        {("a", "b"): {Result.LOST_FORWARD: 1, Result.LOST_NETWORK: 1}},
        {("a", "b"): {Result.LOST_FORWARD: 2, Result.LOST_RETURN: 4}},
    )
    assert history.directed(seen, 2) == {(0, 1): (8, 3, 4)}
    assert history.directed(seen, 1) == {(0, 1): (6, 2, 4)}
    assert history.recent({("a", "b")}, 1) == 6
    assert history.recent({("b", "a")}, 2) == 0


@pytest.mark.parametrize(
    ("lost", "background", "expected"),
    [
        (0, 1e-3, 1e-3 * 31 / 32),
        (9, 1e-3, 1e-3 + (0.1 - 1e-3) / 32),  # 9 of 90
        (0, LEAST_BACKGROUND, LEAST_BACKGROUND),
        (90, MOST_BACKGROUND, MOST_BACKGROUND),
    ],
)
def test_loss_by_chance_is_learned_slowly_and_within_limits(lost: int, background: float, expected: float) -> None:
    """A 32nd of the difference in each window."""
    losses = {("a", "b"): {Result.LOST_FORWARD: min(lost, 15)}}
    if lost == 90:
        losses = {(one, other): {Result.LOST_FORWARD: 15} for one in "abc" for other in "abc" if one != other}
    table = loss_table(window(OF, lost=losses), {}, background)
    assert learned_background(background, table) == pytest.approx(expected)


def test_without_a_trial_nothing_is_learned() -> None:
    """All agents are silent."""
    assert learned_background(1e-3, loss_table(window(OF, silent="abc"), {}, 1e-3)) == 1e-3
