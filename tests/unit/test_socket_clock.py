"""Converting stamps of the wall clock to the monotonic clock."""

from __future__ import annotations

import pytest

from monlat_ebpf.host.wall_clock import Reading, WallClock, read_clocks
from tests.unit.socket_clocks import HOUR, MILLISECOND, Machine


def test_stamp_is_converted_exactly() -> None:
    """With an undisturbed clock the result is the nanosecond at which the stamp was taken."""
    machine = Machine()
    clock = WallClock(machine.read)
    taken, stamp = machine.now, machine.stamp()
    machine.now += MILLISECOND
    assert clock.to_monotonic(stamp, taken, clock.poll()) == taken


def test_imprecise_reading_does_not_change_the_offset() -> None:
    """A reading that was interrupted for 10 ms is no evidence of a step: the offset stays, to the nanosecond."""
    machine = Machine()
    clock = WallClock(machine.read)
    taken, stamp = machine.now, machine.stamp()
    machine.bracket, machine.wall_after = 10 * MILLISECOND, 0
    assert clock.to_monotonic(stamp, taken, clock.poll()) == taken
    assert clock.steps == 0


@pytest.mark.parametrize("step", [HOUR, -HOUR, 10 * MILLISECOND, -10 * MILLISECOND])
def test_step_between_two_stamps_moves_neither(step: int) -> None:
    """The wall clock steps between t1 and t4: both are converted to when they were taken."""
    machine = Machine()
    clock = WallClock(machine.read)
    sent = clock.poll()
    machine.now += 70_000
    t1, t1_stamp = machine.now, machine.stamp()
    machine.now += 100_000
    machine.offset += step
    machine.now += 100_000
    t4, t4_stamp = machine.now, machine.stamp()
    machine.now += 50_000
    now = clock.poll()
    assert clock.to_monotonic(t1_stamp, sent, now) == t1
    assert clock.to_monotonic(t4_stamp, t1, now) == t4
    assert clock.steps == 1


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_stamps_after_a_step_use_the_new_offset(step: int) -> None:
    """After a step was noticed, later stamps are converted as exactly as before it."""
    machine = Machine()
    clock = WallClock(machine.read)
    machine.offset += step
    sent = clock.poll()
    machine.now += 33_000
    taken, stamp = machine.now, machine.stamp()
    assert clock.to_monotonic(stamp, sent, clock.poll()) == taken
    assert clock.steps == 1


def test_stamp_between_two_noticed_steps_is_converted() -> None:
    """An hour forward, one poll, and an hour back: a stamp from between is converted."""
    machine = Machine()
    clock = WallClock(machine.read)
    sent = machine.now
    machine.offset += HOUR
    clock.poll()
    machine.now += MILLISECOND
    taken, stamp = machine.now, machine.stamp()
    machine.now += MILLISECOND
    clock.poll()
    machine.offset -= HOUR
    machine.now += MILLISECOND
    assert clock.to_monotonic(stamp, sent, clock.poll()) == taken
    assert clock.steps == 2


def test_stamp_that_no_known_offset_explains_is_rejected() -> None:
    """An hour forward and back with no poll between: a stamp from between lies in the future and is not used."""
    machine = Machine()
    clock = WallClock(machine.read)
    sent = machine.now
    machine.offset += HOUR
    stamp = machine.stamp()
    machine.offset -= HOUR
    assert clock.to_monotonic(stamp, sent, clock.poll()) is None


def test_stamp_from_before_the_probe_was_sent_is_rejected() -> None:
    """A stamp 1 ms older than its probe belongs to another packet."""
    machine = Machine()
    clock = WallClock(machine.read)
    stamp = machine.stamp()
    machine.now += MILLISECOND
    sent = machine.now
    assert clock.to_monotonic(stamp, sent, clock.poll()) is None


def test_old_offset_is_not_used_after_its_end() -> None:
    """The clock steps 30 ms forward: 50 ms later only the new offset counts, although the old one fits too."""
    machine = Machine()
    clock = WallClock(machine.read)
    sent = machine.now
    machine.offset += 30 * MILLISECOND
    clock.poll()
    machine.now += 50 * MILLISECOND
    taken, stamp = machine.now, machine.stamp()
    machine.now += 50 * MILLISECOND
    assert clock.to_monotonic(stamp, sent, clock.poll()) == taken


def test_reading_of_this_machine_is_in_order() -> None:
    """The real clocks: the second reading is not before the first, and the time between them gives the uncertainty."""
    reading = read_clocks()
    assert reading.before <= reading.after
    assert reading.uncertainty == (reading.after - reading.before + 1) // 2
    assert Reading(100, 1_000_150, 200).offset == 1_000_000
