"""The rules of `bpf/core.h` in Python: what each stamp and message does to the table."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from monlat_ebpf.abi.probes import Completion, TableSize, mapped
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import Address
from monlat_ebpf.sources.socket.messages import IcmpError, Reply, Unmatched
from monlat_ebpf.sources.socket.recorder import Recorder
from monlat_ebpf.sources.socket.table import SocketTable
from tests.unit.socket_clocks import HOUR, MILLISECOND, Machine

PEER: Address = ip_address("10.1.0.2")
ADDRESS = mapped(PEER)
SLOT, NONCE, DEVICE = 21, 77, 4
TARGET = 1  # 21 // 16
RIGHT, WRONG = b"\xff\xff", b"\x12\x34"  # bytes that add up to 0 modulo 0xffff, and that do not


class Bench:
    """A recorder over a table of two targets, and the machine whose kernel stamps."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.clock = WallClock(self.machine.read)
        self.table = SocketTable(TableSize(2), lambda: None)
        self.recorder = Recorder(self.table, self.clock)

    def arm(self, timeout: int = 1_000 * MILLISECOND) -> int:
        sent = self.machine.now
        self.table.arm(SLOT, nonce=NONCE, sent_ns=sent, deadline_ns=sent + timeout, address=ADDRESS)
        return sent

    def later(self, nanoseconds: int) -> int:
        self.machine.now += nanoseconds
        return self.machine.now

    def transmit(self, slot: int = SLOT, nonce: int = NONCE, device: int = DEVICE) -> int:
        taken = self.machine.now
        stamp = self.machine.stamp()
        self.recorder.transmitted(slot, nonce, stamp, device, self.clock.poll())
        self.recorder.record_waiting(self.clock.poll())
        return taken

    def receive(self, message: Reply | IcmpError | Unmatched) -> int:
        taken = self.machine.now
        stamp = self.machine.stamp()
        self.recorder.received(message, stamp, self.clock.poll())
        self.recorder.record_waiting(self.clock.poll())
        return taken

    def reply(self, checked: bytes = RIGHT) -> int:
        return self.receive(Reply(ADDRESS, SLOT, NONCE, checked))

    def error(self, code: int = 1) -> int:
        return self.receive(IcmpError(3, code, ADDRESS, SLOT, NONCE))

    @property
    def completion(self) -> Completion:
        return self.table.completion(SLOT)

    @property
    def unmatched(self) -> dict[str, int]:
        return {reason: count for reason, count in self.table.unmatched_packets().items() if count}

    @property
    def rtts(self) -> tuple[int, int]:
        """Their number, and their sum in ns."""
        histogram = self.table.histogram(TARGET)
        return histogram.count, histogram.sum_ns


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_reply_completes_the_probe(bench: Bench) -> None:
    """t1 and t4 are the times of the stamps, and their difference is in the histogram of the target."""
    bench.arm()
    bench.later(40_000)
    t1 = bench.transmit()
    bench.later(123_456)
    t4 = bench.reply()
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (1, t4 - t1)
    assert bench.unmatched == {}


def test_last_transmit_wins(bench: Bench) -> None:
    """VLAN device, then card: the later stamp is t1, and the probe has its device."""
    bench.arm()
    bench.later(10_000)
    bench.transmit(device=9)
    bench.later(5_000)
    t1 = bench.transmit(device=2)
    assert bench.completion == Completion(t1, 0, 2, 0, 0)


def test_transmit_after_the_reply_changes_nothing(bench: Bench) -> None:
    """A stamp that comes after the reply was recorded is ignored."""
    bench.arm()
    t1 = bench.transmit()
    bench.later(9_000)
    t4 = bench.reply()
    bench.later(9_000)
    bench.transmit(device=8)
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)


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


def test_reply_after_the_deadline_is_late(bench: Bench) -> None:
    """It counts as received and late and is in no histogram; the next reply is a duplicate."""
    bench.arm(timeout=100 * MILLISECOND)
    t1 = bench.transmit()
    bench.later(101 * MILLISECOND)
    t4 = bench.reply()
    bench.reply()
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (0, 0)
    assert bench.table.late_and_duplicates(TARGET) == (1, 1)


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


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(ADDRESS, 32, NONCE, RIGHT), "slot_out_of_range"),
        (Reply(ADDRESS, 0xFFFFFFFF, NONCE, RIGHT), "slot_out_of_range"),
        (Reply(ADDRESS, SLOT + 1, NONCE, RIGHT), "no_probe"),
        (Reply(ADDRESS, SLOT + 1, 0, RIGHT), "no_probe"),
        (Reply(ADDRESS, SLOT, NONCE + 1, RIGHT), "nonce_mismatch"),
        (Reply(mapped(ip_address("10.1.0.3")), SLOT, NONCE, RIGHT), "wrong_address"),
        (Reply(ADDRESS, SLOT, NONCE, WRONG), "bad_checksum"),
        (IcmpError(3, 1, ADDRESS, 32, NONCE), "slot_out_of_range"),
        (IcmpError(3, 1, ADDRESS, SLOT + 1, NONCE), "no_probe"),
        (IcmpError(3, 1, ADDRESS, SLOT, NONCE + 1), "nonce_mismatch"),
        (IcmpError(3, 1, mapped(ip_address("10.1.0.3")), SLOT, NONCE), "wrong_address"),
        (Unmatched(0), "malformed_payload"),
        (Unmatched(6), "truncated_quote"),
    ],
)
def test_unmatched_message_is_counted_and_changes_nothing(
    bench: Bench, reply: Reply | IcmpError | Unmatched, reason: str
) -> None:
    """Each has its reason, and the probe stays open for its reply."""
    bench.arm()
    t1 = bench.transmit()
    bench.later(5_000)
    bench.receive(reply)
    assert bench.unmatched == {reason: 1}
    assert bench.completion == Completion(t1, 0, DEVICE, 0, 0)
    t4 = bench.reply()
    assert bench.completion.received_ns == t4


def test_transmit_stamp_of_another_probe_changes_nothing(bench: Bench) -> None:
    """A request of the former probe of the slot, of no probe, or of a slot out of range is not recorded."""
    bench.arm()
    bench.transmit(nonce=NONCE - 1)
    bench.transmit(nonce=0)
    bench.transmit(slot=SLOT + 1, nonce=0)
    bench.transmit(slot=32)
    assert bench.completion == Completion(0, 0, 0, 0, 0)
    assert bench.unmatched == {}


def test_error_ends_the_probe(bench: Bench) -> None:
    """Type and code are recorded, the first error wins, the second is stale. The first reply after is no duplicate."""
    bench.arm()
    t1 = bench.transmit()
    bench.later(5_000)
    bench.error(code=1)
    bench.later(5_000)
    bench.error(code=2)
    assert bench.completion == Completion(t1, 0, DEVICE, 3, 1)
    assert bench.unmatched == {"stale_error": 1}
    for duplicates in (0, 1):
        bench.reply()
        assert bench.completion == Completion(t1, 0, DEVICE, 3, 1)
        assert bench.table.late_and_duplicates(TARGET) == (0, duplicates)
    assert bench.rtts == (0, 0)


@pytest.mark.parametrize("is_transmit_known", [True, False])
def test_error_after_the_reply_is_stale(bench: Bench, is_transmit_known: bool) -> None:
    """The reply came first, recorded or waiting for its stamp: the error changes nothing and is counted."""
    bench.arm()
    if is_transmit_known:
        bench.transmit()
    bench.later(5_000)
    t4 = bench.reply()
    bench.error()
    bench.later(2_000 * MILLISECOND)
    bench.recorder.record_waiting(bench.clock.poll())
    assert (bench.completion.received_ns, bench.completion.error_type) == (t4, 0)
    assert bench.unmatched == {"stale_error": 1} | ({} if is_transmit_known else {"not_transmitted": 1})


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


def test_error_after_the_deadline_is_stale(bench: Bench) -> None:
    """The probe was already lost."""
    bench.arm(timeout=100 * MILLISECOND)
    t1 = bench.transmit()
    bench.later(101 * MILLISECOND)
    bench.error()
    assert bench.completion == Completion(t1, 0, DEVICE, 0, 0)
    assert bench.unmatched == {"stale_error": 1}


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
