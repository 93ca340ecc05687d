"""The losses of several windows, for rates too low for one."""

from __future__ import annotations

from array import array

from monlat_ebpf.diagnosis.findings import Symptom
from monlat_ebpf.diagnosis.history import MOST_REMEMBERED, SPANS, Losses, LossHistory
from monlat_ebpf.diagnosis.tables import Table, host_loss_table, loss_table
from monlat_ebpf.diagnosis.window import Health, Node, Row, Samples, Window
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import Cell, nodes, table_counts, window

OF = nodes("abc")
RATE = 1e-3


SHORT, LONG = SPANS


def several(*losses: dict[Cell, dict[Result, int]]) -> tuple[LossHistory, Table]:
    """Return the history after windows with these losses, and the table of all of them (of the last 8 at most)."""
    history = LossHistory()
    for lost in losses:
        seen = window(OF, lost=lost)
        latest = loss_table(seen, {}, RATE)
        history.add(seen, latest)
    return history, history.table(latest, min(len(losses), SHORT))


def test_several_windows_without_the_worst_one() -> None:
    """1 + 2 + 1 losses of a cell: the 2 are left out, and so are the trials of one window."""
    _, table = several(*({("a", "b"): {Result.LOST_FORWARD: lost}} for lost in (1, 2, 1)))
    assert table_counts(table)[0, 1] == (2, 30)
    assert table_counts(table)[1, 0] == (0, 30)
    assert table.windows == 3


def test_a_burst_is_no_evidence_for_a_low_rate() -> None:
    """15 losses in one of 8 windows leave none."""
    burst: list[dict[Cell, dict[Result, int]]] = [{} for _ in range(SHORT)]
    burst[3] = {("a", "b"): {Result.LOST_NETWORK: 15}}
    _, table = several(*burst)
    assert table.totals()[0] == 0


def test_no_more_losses_than_trials() -> None:
    """Two windows with 15 losses each, then one with a single probe: 2 trials, and not 15 losses in them."""
    history = LossHistory()
    for seen in (window(OF, lost={("a", "b"): {Result.LOST_NETWORK: 15}}),) * 2 + (window(OF, probes=1),):
        latest = loss_table(seen, {}, RATE)
        history.add(seen, latest)
    assert table_counts(history.table(latest, 3))[0, 1] == (2, 2)


def test_the_table_of_several_windows_is_of_the_symptom_of_the_latest() -> None:
    """Losses in the host are of the row that counts them; those behind the host are not among them."""
    history = LossHistory()
    for _ in range(3):
        seen = window(OF, lost={("a", "b"): {Result.LOST_HOST: 2, Result.LOST_NETWORK: 1}})
        latest = host_loss_table(seen, {}, RATE)
        history.add(seen, latest)
    table = history.table(latest, 3)
    assert (table.symptom, table.own_row_only, table.windows) == (Symptom.HOST_LOSS, True, 3)
    assert table_counts(table)[0, 1] == (4, 30)


def test_windows_are_forgotten() -> None:
    """After 8 windows without losses, nothing is left of earlier ones in the short span; after 32 in no span."""
    lossy = {("a", "b"): {Result.LOST_FORWARD: 5}}
    assert several(lossy)[0].spans() == []
    assert several(*[lossy] * 3, *[{}] * (SHORT - 1))[0].spans() == [SHORT, 3 + SHORT - 1]
    assert several(*[lossy] * 3, *[{}] * SHORT)[0].spans() == [3 + SHORT]
    assert several(*[lossy] * 3, *[{}] * (LONG - 1))[0].spans() == [LONG]
    assert several(*[lossy] * 3, *[{}] * LONG)[0].spans() == []
    history, table = several(*[lossy] * 3, *[{}] * SHORT)
    assert table.totals()[0] == 0
    assert history.losses(0, 1, SHORT) == Losses(0, 0, 0)


def test_a_long_span_is_summed_up_as_a_short_one() -> None:
    """A loss in every fourth window and one window with two: 1 * 7 + 2, without the 2; trials of 31 windows."""
    losses: list[dict[Cell, dict[Result, int]]] = [
        {("a", "b"): {Result.LOST_FORWARD: 2 if number == 12 else 1}} if number % 4 == 0 else {}
        for number in range(LONG)
    ]
    history, _ = several(*losses)
    table = history.table(loss_table(window(OF), {}, RATE), LONG)
    assert table_counts(table)[0, 1] == (7, 31 * 15)
    assert table.windows == LONG


def test_losses_of_cells_by_window() -> None:
    """The latest window first; cells that are not asked for are left out."""
    history, _ = several(
        {
            ("a", "b"): {Result.LOST_FORWARD: 1},
            ("b", "a"): {Result.LOST_RETURN: 2},
            ("a", "c"): {Result.LOST_NETWORK: 9},
        },
        {},
        {("b", "a"): {Result.LOST_NETWORK: 4}, ("c", "a"): {Result.LOST_NETWORK: 9}},
    )
    assert history.lost([(0, 1), (1, 0), (2, 1)]) == [4, 0, 3]


def test_only_the_short_span_is_remembered_when_many_cells_lose_packets() -> None:
    """2,000 nodes of which 130 lose packets to all others: 259,870 cells with losses, more than the limit.

    Only the last eight windows are remembered until that one is none of them.
    """
    of = tuple(Node(f"n{number}") for number in range(2000))
    lossy = [
        Row(
            array("I", (peer for peer in range(2000) if peer != sender)),
            {Result.LOST_NETWORK: array("I", [1]) * 1999},
            Samples.of([b""] * 1999),
            Health(1999),
        )
        for sender in range(130)
    ]
    assert MOST_REMEMBERED < 130 * 1999
    quiet = Window(of, [None] * 2000)
    history = LossHistory()
    remembered = []
    for seen in [quiet] * 20 + [Window(of, lossy + [None] * 1870)] + [quiet] * 10:
        history.add(seen, loss_table(seen, (), RATE))
        remembered.append(len(history.lost([])))
    assert remembered == [*range(1, 21), *[SHORT] * (1 + SHORT), SHORT + 1, SHORT + 2]


def test_directions_of_several_windows() -> None:
    """Losses with a direction, and all of them; and those of the last windows alone."""
    history, _ = several(
        {("a", "b"): {Result.LOST_FORWARD: 1, Result.LOST_NETWORK: 1}},
        {("a", "b"): {Result.LOST_FORWARD: 2, Result.LOST_RETURN: 4}},
    )
    assert history.losses(0, 1, windows=2) == Losses(lost=8, forward=3, back=4)
    assert history.losses(0, 1, windows=1) == Losses(lost=6, forward=2, back=4)
    assert history.losses(1, 0, windows=2) == Losses(0, 0, 0)


def test_losses_follow_their_nodes_by_name() -> None:
    """x comes before a, so all indices move; c leaves and comes back, without its losses."""
    history = LossHistory()
    lost = {("a", "b"): {Result.LOST_FORWARD: 4}, ("c", "b"): {Result.LOST_FORWARD: 2}}
    for names, losses in (("abc", lost), ("xab", {}), ("xabc", {})):
        seen = window(nodes(names), lost=losses)
        history.add(seen, loss_table(seen, {}, RATE))
    assert history.losses(1, 2, windows=3) == Losses(lost=4, forward=4, back=0)
    assert history.losses(3, 2, windows=3) == Losses(0, 0, 0)
    assert history.losses(0, 1, windows=3) == Losses(0, 0, 0)


def test_a_huge_count_is_limited() -> None:
    """More than 16 bits hold: 65,535."""
    seen = window(OF, lost={("a", "b"): {Result.LOST_NETWORK: 70_000}}, probes=70_000)
    history = LossHistory()
    history.add(seen, loss_table(seen, {}, RATE))
    assert history.losses(0, 1, windows=1).lost == 65_535
