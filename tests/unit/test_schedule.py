"""When targets are due, by arithmetic: no clock runs here."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from monlat_ebpf.probing.schedule import JITTER, Schedule

SECOND = 1_000_000_000
SPREAD = 20_000_000  # 2 % of a second
START = 5 * SECOND


def times_of_all(schedule: Schedule[str], until_ns: int) -> dict[str, list[int]]:
    """Ask whenever something is due, as the prober does; return when each item was."""
    times: dict[str, list[int]] = {}
    while (next_due := schedule.next_due_ns()) is not None and next_due <= until_ns:
        for item, due_ns, _ in schedule.due(next_due):
            times.setdefault(item, []).append(due_ns)
    return times


def test_ten_thousand_intervals_do_not_drift() -> None:
    """The n-th time is the grid's first point plus n seconds, plus or minus a jitter of 2 %."""
    schedule: Schedule[str] = Schedule(SECOND, Random(1))
    schedule.add("a", START, 0.25)
    times = times_of_all(schedule, START + 10_000 * SECOND)["a"]
    assert times[0] == START + SECOND // 16  # a quarter of the way to the grid's first point
    assert len(times) == 10_000
    offsets = [due - START - SECOND // 4 - n * SECOND for n, due in enumerate(times)][1:]
    assert max(offsets) <= SPREAD
    assert min(offsets) >= -SPREAD
    assert int(JITTER * SECOND) == SPREAD


def test_jitter_uses_its_whole_width_evenly() -> None:
    """Of 10,000 offsets a quarter lies in each quarter of the width, and their mean is near zero."""
    schedule: Schedule[str] = Schedule(SECOND, Random(2))
    schedule.add("a", 0, 0.0)
    offsets = [due - n * SECOND for n, due in enumerate(times_of_all(schedule, 10_000 * SECOND)["a"])][1:]
    for quarter in range(-2, 2):
        low = quarter * SPREAD // 2
        assert 2_300 < sum(low <= offset < low + SPREAD // 2 for offset in offsets) < 2_700
    assert abs(sum(offsets) / len(offsets)) < SPREAD / 20


def test_two_schedules_do_not_march_in_step() -> None:
    """Agents with the same interval and the same phase meet at few of a thousand times."""
    pair = [Schedule[str](SECOND, Random(seed)) for seed in (3, 4)]
    for schedule in pair:
        schedule.add("a", 0, 0.5)
    one, other = (times_of_all(schedule, 1_000 * SECOND)["a"] for schedule in pair)
    assert sum(abs(a - b) < SPREAD // 100 for a, b in zip(one, other, strict=True)) < 50


def test_lateness_of_the_caller_is_not_inherited() -> None:
    """Asked 100 ms late every time, the items stay on their own grid."""
    schedule: Schedule[str] = Schedule(SECOND, Random(5))
    schedule.add("a", START, 0.0)
    times = []
    for _ in range(1_000):
        next_due = schedule.next_due_ns()
        assert next_due is not None
        times += [due for _, due, _ in schedule.due(next_due + SECOND // 10)]
    assert len(times) == 1_000
    assert all(abs(due - START - n * SECOND) <= SPREAD for n, due in enumerate(times))


def test_no_burst_after_a_gap() -> None:
    """After any gap each item comes once and says how many it skips, and then comes at its own next grid point."""
    for gap_ns in range(SECOND, 12 * SECOND, 7_000_001):
        schedule: Schedule[str] = Schedule(SECOND, Random(gap_ns))
        schedule.add("a", 0, 0.5)
        schedule.add("b", 0, 0.99)
        assert sorted((item, skipped) for item, _, skipped in schedule.due(gap_ns)) == [
            ("a", (gap_ns + SPREAD - SECOND // 2) // SECOND),
            ("b", (gap_ns + SPREAD - SECOND * 99 // 100) // SECOND),
        ]
        next_due = schedule.next_due_ns()
        assert next_due is not None
        assert gap_ns < next_due <= gap_ns + SECOND + 2 * SPREAD
        assert min((next_due - phase) % SECOND for phase in (SECOND // 2 - SPREAD, SECOND * 99 // 100 - SPREAD)) <= (
            2 * SPREAD
        )


def test_what_is_due_at_once_comes_in_order_of_time() -> None:
    """Items that are due together come in the order of their times, each with its time."""
    schedule: Schedule[str] = Schedule(SECOND, Random(6))
    for name, phase in (("late", 0.5), ("early", 0.125), ("middle", 0.25)):
        schedule.add(name, 0, phase)
    assert list(schedule.due(SECOND // 2)) == [
        ("early", SECOND // 32, 0),
        ("middle", SECOND // 16, 0),
        ("late", SECOND // 8, 0),
    ]


def test_a_removed_item_is_due_no_more() -> None:
    """An item that is removed before, between or among items that are due never comes again; the others do."""
    schedule: Schedule[str] = Schedule(SECOND, Random(7))
    for number in range(10):
        schedule.add(f"item{number}", 0, number / 10)
    schedule.remove("item0")
    seen = []
    for item, _, _ in schedule.due(SECOND):
        seen.append(item)
        if item == "item4":
            schedule.remove("item5")
            schedule.remove("item4")
    assert seen == [f"item{number}" for number in (1, 2, 3, 4, 6, 7, 8, 9)]
    assert sorted(times_of_all(schedule, 2 * SECOND)) == [f"item{number}" for number in (1, 2, 3, 6, 7, 8, 9)]


def test_removed_and_added_again_comes_once_an_interval() -> None:
    """Removed and added 100 times, an item still has one time in the interval."""
    schedule: Schedule[str] = Schedule(SECOND, Random(8))
    schedule.add("a", 0, 0.5)
    for _ in range(100):
        schedule.remove("a")
        schedule.add("a", 0, 0.5)
    assert list(schedule.due(SECOND // 2)) == [("a", SECOND // 8, 0)]


def test_nothing_is_due_in_an_empty_schedule() -> None:
    """There is no next time without an item, nor after the last one was removed."""
    schedule: Schedule[str] = Schedule(SECOND, Random(9))
    assert schedule.next_due_ns() is None
    assert list(schedule.due(SECOND)) == []
    schedule.add("a", 0, 0.0)
    schedule.remove("a")
    assert schedule.next_due_ns() is None


def test_item_of_a_long_tick_comes_at_an_even_pace() -> None:
    """Two ticks a second; wherever in a tick an item's grid is, 980 to 1,020 ms are between its times."""
    schedule: Schedule[str] = Schedule(SECOND, Random(11), tick_ns=SECOND // 2)
    for number in range(100):
        schedule.add(f"item{number}", 0, number / 100)
    list(schedule.due(SECOND // 2))  # the first round
    for times in times_of_all(schedule, 100 * SECOND).values():
        assert len(times) >= 98
        for earlier, later in pairwise(times):
            assert abs(later - earlier - SECOND) <= SPREAD


def test_items_of_one_tick_come_together() -> None:
    """1,000 items in ticks of 10 ms: each comes once a second, up to a tick early or a jitter late, in 100 turns."""
    schedule: Schedule[str] = Schedule(SECOND, Random(10), tick_ns=SECOND // 100)
    for number in range(1_000):
        schedule.add(f"item{number}", 0, number / 1_000)
    list(schedule.due(SECOND // 2))  # the first round
    turns = 0
    seen: dict[str, list[int]] = {}
    while (next_due := schedule.next_due_ns()) is not None and next_due < 11 * SECOND:
        turns += 1
        for item, due_ns, skipped in schedule.due(next_due):
            assert (due_ns, skipped) == (next_due, 0)
            seen.setdefault(item, []).append(due_ns)
    assert 950 <= turns <= 1_110
    for number in range(1_000):
        offsets = [due - number * SECOND // 1_000 for due in seen[f"item{number}"]]
        grid = [round(offset / SECOND) * SECOND for offset in offsets]
        assert all(b - a == SECOND for a, b in pairwise(grid))
        assert all(
            -SPREAD - SECOND // 100 <= offset - point <= SPREAD + SECOND // 100
            for offset, point in zip(offsets, grid, strict=True)
        )


def test_another_tick_keeps_the_grid() -> None:
    """Of 100 items, with ticks of 1, 10 and 60 ms in turn: each comes once in each second."""
    schedule: Schedule[str] = Schedule(SECOND, Random(11))
    for number in range(100):
        schedule.add(f"item{number}", 0, number / 200 + 0.25)
    list(schedule.due(SECOND // 5))
    for second in range(1, 31):
        schedule.set_tick((1, 10, 60)[second % 3] * SECOND // 1_000)
        came = [item for item, _, _ in schedule.due(second * SECOND + SECOND * 7 // 8)]
        assert sorted(came) == sorted(f"item{number}" for number in range(100))
