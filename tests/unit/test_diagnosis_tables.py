"""Windows as tables."""

from __future__ import annotations

import pytest

from monlat_ebpf.diagnosis.tables import (
    LEAST_BACKGROUND,
    MOST_BACKGROUND,
    host_loss_table,
    learned_background,
    loss_table,
)
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import nodes, table_counts, window

OF = nodes("abc")
RATE = 1e-3


def test_losses_by_where_they_happened() -> None:
    """What the host lost never left it: it is no trial of the network."""
    seen = window(
        OF,
        lost={
            ("a", "b"): {Result.LOST_FORWARD: 1, Result.LOST_RETURN: 2, Result.LOST_NETWORK: 3, Result.UNREACHABLE: 1},
            ("a", "c"): {Result.LOST_HOST: 4, Result.SEND_ERROR: 1},
        },
    )
    assert table_counts(loss_table(seen, {}, RATE)) == {
        (0, 1): (7, 15), (0, 2): (0, 10), (1, 0): (0, 15), (1, 2): (0, 15), (2, 0): (0, 15), (2, 1): (0, 15),
    }  # fmt: skip
    host = table_counts(host_loss_table(seen, {}, RATE))
    assert host[0, 2] == (5, 15)
    assert sum(shown for shown, _ in host.values()) == 5


def test_cells_without_a_witness_are_not_in_the_table() -> None:
    """The agent of a did not answer, that of b is starved, and c does not probe b."""
    seen = window(OF, silent=["a"], not_probed=[("c", "b")])
    assert table_counts(loss_table(seen, {1}, RATE)) == {(2, 0): (0, 15)}


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
