"""When agents are asked: each at its own moment in every slot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.collector.slots import Slots

NAMES = st.text(min_size=1)
TIMES = st.floats(0, 1e7)


@given(NAMES, TIMES)
def test_next_question_is_in_the_next_slot(name: str, now: float) -> None:
    """And a slot is an interval long."""
    slots = Slots(5.0)
    pause = slots.pause(name, now)
    assert 0 < pause <= 5.0
    assert slots.slot(name, now + pause + 1e-6) == slots.slot(name, now) + 1


@given(NAMES, st.integers(0, 1_000_000))
def test_every_agent_has_been_asked_when_all_have(name: str, slot: int) -> None:
    """Its moment in the slot is not later than that."""
    slots = Slots(5.0)
    asked_at = 5.0 * slot + slots.moment(name)
    assert slots.slot(name, asked_at + 1e-6) == slot
    assert 5.0 * slot <= asked_at <= slots.all_asked(slot)


def test_agents_are_spread_over_the_interval() -> None:
    """In each tenth of it between 60 and 140 of 1,000 are asked: 100 are expected, with a deviation of 9.5."""
    slots = Slots(5.0)
    tenths = [int(slots.moment(f"node{number}") / 0.5) for number in range(1000)]
    assert all(60 <= tenths.count(tenth) <= 140 for tenth in range(10))
