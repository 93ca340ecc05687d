"""Stamps and replies that the recorder reads late, in another order, or across a step of the wall clock."""

from __future__ import annotations

import pytest

from monlat_ebpf.abi.probes import Completion
from monlat_ebpf.sources.socket.messages import IcmpError, Reply
from tests.unit.recorder_bench import ADDRESS, DEVICE, NONCE, RIGHT, SLOT, TARGET, Bench
from tests.unit.socket_clocks import HOUR, MILLISECOND


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_reply_waits_for_its_transmit_stamp(bench: Bench) -> None:
    """A reply that is read before the stamp of its request is recorded when that comes, with its own t4."""
    bench.arm()
    t1, t1_stamp = bench.later(50_000), bench.machine.stamp()
    bench.later(80_000)
    t4 = bench.reply()
    assert bench.completion.received_ns == 0
    assert bench.recorder.is_waiting
    bench.later(5 * MILLISECOND)
    bench.recorder.transmitted(SLOT, NONCE, t1_stamp, DEVICE, bench.clock.poll())
    bench.recorder.record_waiting(bench.clock.poll())
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (1, 80_000)
    assert not bench.recorder.is_waiting


def test_second_reply_while_the_first_waits_is_a_duplicate(bench: Bench) -> None:
    """A reply that waits is still the first one."""
    bench.arm()
    bench.later(50_000)
    first = bench.reply()
    bench.later(50_000)
    bench.reply()
    bench.later(2_000 * MILLISECOND)
    bench.recorder.record_waiting(bench.clock.poll())
    assert bench.completion.received_ns == first
    assert bench.table.late_and_duplicates(TARGET) == (0, 1)


def test_reply_without_transmit_stamp_counts_at_the_deadline(bench: Bench) -> None:
    """The deadline passes without a stamp: the reply is in time, has no RTT, and counts as not transmitted."""
    bench.arm(timeout=100 * MILLISECOND)
    bench.later(50_000)
    t4 = bench.reply()
    bench.later(100 * MILLISECOND)
    bench.recorder.record_waiting(bench.clock.poll())
    assert bench.completion == Completion(0, t4, 0, 0, 0)
    assert bench.rtts == (0, 0)
    assert bench.unmatched == {"not_transmitted": 1}


def test_reply_in_time_that_is_read_late_is_in_time(bench: Bench) -> None:
    """The thread of the receiver slept past the deadline: the stamp of the reply decides."""
    bench.arm(timeout=100 * MILLISECOND)
    t1 = bench.transmit()
    t4, stamp = bench.later(99 * MILLISECOND), bench.machine.stamp()
    bench.later(300 * MILLISECOND)
    now = bench.clock.poll()
    bench.recorder.received(Reply(ADDRESS, SLOT, NONCE, RIGHT), stamp, now)
    bench.recorder.record_waiting(now)
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (1, t4 - t1)


def test_transmit_stamp_later_than_the_reply_is_rejected(bench: Bench) -> None:
    """No request leaves after its reply: the waiting reply stays a reply, and no RTT is negative."""
    bench.arm()
    bench.later(5_000)
    t4 = bench.reply()
    bench.later(MILLISECOND)
    bench.transmit()
    assert bench.recorder.rejected_stamps == 1
    bench.later(2_000 * MILLISECOND)
    bench.recorder.record_waiting(bench.clock.poll())
    assert bench.completion == Completion(0, t4, 0, 0, 0)
    assert bench.rtts == (0, 0)


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@pytest.mark.parametrize("step_before", ["transmit", "reply"])
def test_wall_clock_step_in_flight_changes_no_result(bench: Bench, step: int, step_before: str) -> None:
    """A step of an hour either way, before t1 or between t1 and t4: t1, t4 and RTT are the same as without it."""
    bench.arm()
    bench.machine.offset += step if step_before == "transmit" else 0
    bench.later(40_000)
    t1 = bench.transmit()
    bench.machine.offset += step if step_before == "reply" else 0
    bench.later(123_456)
    t4 = bench.reply()
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (1, t4 - t1)
    assert bench.recorder.rejected_stamps == 0


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_step_noticed_after_both_stamps_changes_no_result(bench: Bench, step: int) -> None:
    """The step came between the two packets, and both are read after it: t1 has the old offset, t4 the new one."""
    bench.arm()
    t1, t1_stamp = bench.later(40_000), bench.machine.stamp()
    bench.machine.offset += step
    t4, t4_stamp = bench.later(90_000), bench.machine.stamp()
    bench.later(10_000)
    now = bench.clock.poll()
    bench.recorder.transmitted(SLOT, NONCE, t1_stamp, DEVICE, now)
    bench.recorder.received(Reply(ADDRESS, SLOT, NONCE, RIGHT), t4_stamp, now)
    bench.recorder.record_waiting(now)
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (1, 90_000)


def test_impossible_stamp_is_rejected_and_counted(bench: Bench) -> None:
    """A reply, an error and a transmit with stamps an hour ahead: three are rejected, nothing is recorded."""
    bench.arm()
    now = bench.clock.poll()
    stamp = bench.machine.stamp() + HOUR
    bench.recorder.transmitted(SLOT, NONCE, stamp, DEVICE, now)
    bench.recorder.received(Reply(ADDRESS, SLOT, NONCE, RIGHT), stamp, now)
    bench.recorder.received(IcmpError(3, 1, ADDRESS, SLOT, NONCE), stamp, now)
    bench.recorder.record_waiting(now)
    assert bench.recorder.rejected_stamps == 3
    assert bench.completion == Completion(0, 0, 0, 0, 0)
    assert bench.unmatched == {}


def test_waiting_reply_of_a_cleared_target_is_dropped(bench: Bench) -> None:
    """The peer leaves while a reply waits: nothing is written into the slot, nothing is counted."""
    bench.arm()
    bench.later(5_000)
    bench.reply()
    bench.table.clear_target(TARGET)
    bench.recorder.record_waiting(bench.clock.poll())
    assert not bench.recorder.is_waiting
    assert bench.unmatched == {}
    assert bench.rtts == (0, 0)


def test_reused_slot_ignores_stale_pending_reply(bench: Bench) -> None:
    """The target is cleared and probed again while a reply waits: the reply to the new probe is its first one."""
    bench.arm()
    bench.later(5_000)
    bench.reply()
    bench.table.clear_target(TARGET)
    sent = bench.later(5_000)
    bench.table.arm(SLOT, nonce=NONCE + 1, sent_ns=sent, deadline_ns=sent + 10**9, address=ADDRESS)
    t1 = bench.transmit(nonce=NONCE + 1)
    bench.later(5_000)
    t4 = bench.receive(Reply(ADDRESS, SLOT, NONCE + 1, RIGHT))
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.table.late_and_duplicates(TARGET) == (0, 0)
