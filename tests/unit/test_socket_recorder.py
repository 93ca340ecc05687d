"""The diagnoses of `bpf/core.h`, given in Python: what each stamp and message does to the table."""

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
        self.recorder.settle(self.clock.poll())
        return taken

    def receive(self, message: Reply | IcmpError | Unmatched) -> int:
        taken = self.machine.now
        stamp = self.machine.stamp()
        self.recorder.received(message, stamp, self.clock.poll())
        self.recorder.settle(self.clock.poll())
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
        """How many, and their sum in ns."""
        histogram = self.table.histogram(TARGET)
        return histogram.count, histogram.sum_ns


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_reply_completes_the_probe(bench: Bench) -> None:
    """t1 and t4 are the stamps' instants, and their difference is in the target's histogram."""
    bench.arm()
    bench.later(40_000)
    t1 = bench.transmit()
    bench.later(123_456)
    t4 = bench.reply()
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (1, t4 - t1)
    assert bench.unmatched == {}


def test_last_transmit_wins(bench: Bench) -> None:
    """VLAN device, then card: the later stamp is t1, and its device the probe's."""
    bench.arm()
    bench.later(10_000)
    bench.transmit(device=9)
    bench.later(5_000)
    t1 = bench.transmit(device=2)
    assert bench.completion == Completion(t1, 0, 2, 0, 0)


def test_transmit_after_the_reply_changes_nothing(bench: Bench) -> None:
    """A stamp that comes after the answer was recorded is of no use."""
    bench.arm()
    t1 = bench.transmit()
    bench.later(9_000)
    t4 = bench.reply()
    bench.later(9_000)
    bench.transmit(device=8)
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)


def test_reply_waits_for_its_transmit_stamp(bench: Bench) -> None:
    """Read before the stamp of its request, a reply is recorded when that is there, with its own instant."""
    bench.arm()
    t1, t1_stamp = bench.later(50_000), bench.machine.stamp()
    bench.later(80_000)
    t4 = bench.reply()
    assert bench.completion.received_ns == 0
    assert bench.recorder.is_waiting
    bench.later(5 * MILLISECOND)
    bench.recorder.transmitted(SLOT, NONCE, t1_stamp, DEVICE, bench.clock.poll())
    bench.recorder.settle(bench.clock.poll())
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (1, 80_000)
    assert not bench.recorder.is_waiting


def test_second_reply_while_the_first_waits_is_a_duplicate(bench: Bench) -> None:
    """Waiting changes nothing in what is first and what is second."""
    bench.arm()
    bench.later(50_000)
    first = bench.reply()
    bench.later(50_000)
    bench.reply()
    bench.later(2_000 * MILLISECOND)
    bench.recorder.settle(bench.clock.poll())
    assert bench.completion.received_ns == first
    assert bench.table.late_and_duplicates(TARGET) == (0, 1)


def test_reply_without_transmit_stamp_counts_at_the_deadline(bench: Bench) -> None:
    """The deadline passes and no stamp has come: answered in time, no RTT, counted as not transmitted."""
    bench.arm(timeout=100 * MILLISECOND)
    bench.later(50_000)
    t4 = bench.reply()
    bench.later(100 * MILLISECOND)
    bench.recorder.settle(bench.clock.poll())
    assert bench.completion == Completion(0, t4, 0, 0, 0)
    assert bench.rtts == (0, 0)
    assert bench.unmatched == {"not_transmitted": 1}


def test_reply_after_the_deadline_is_late(bench: Bench) -> None:
    """It is received, counted as late, and in no histogram; the next is a duplicate."""
    bench.arm(timeout=100 * MILLISECOND)
    t1 = bench.transmit()
    bench.later(101 * MILLISECOND)
    t4 = bench.reply()
    bench.reply()
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (0, 0)
    assert bench.table.late_and_duplicates(TARGET) == (1, 1)


def test_reply_in_time_that_is_read_late_is_in_time(bench: Bench) -> None:
    """The receiver's thread slept past the deadline: the reply's own stamp decides."""
    bench.arm(timeout=100 * MILLISECOND)
    t1 = bench.transmit()
    t4, stamp = bench.later(99 * MILLISECOND), bench.machine.stamp()
    bench.later(300 * MILLISECOND)
    now = bench.clock.poll()
    bench.recorder.received(Reply(ADDRESS, SLOT, NONCE, RIGHT), stamp, now)
    bench.recorder.settle(now)
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
        (Unmatched(7), "truncated_quote"),
    ],
)
def test_what_is_no_answer_is_counted_and_changes_nothing(
    bench: Bench, reply: Reply | IcmpError | Unmatched, reason: str
) -> None:
    """Each has its reason, and the probe stays open for its answer."""
    bench.arm()
    t1 = bench.transmit()
    bench.later(5_000)
    bench.receive(reply)
    assert bench.unmatched == {reason: 1}
    assert bench.completion == Completion(t1, 0, DEVICE, 0, 0)
    t4 = bench.reply()
    assert bench.completion.received_ns == t4


def test_transmit_stamp_of_another_probe_changes_nothing(bench: Bench) -> None:
    """A request of the place's former probe, of no probe or of a slot out of range is not ours to record."""
    bench.arm()
    bench.transmit(nonce=NONCE - 1)
    bench.transmit(nonce=0)
    bench.transmit(slot=SLOT + 1, nonce=0)
    bench.transmit(slot=32)
    assert bench.completion == Completion(0, 0, 0, 0, 0)
    assert bench.unmatched == {}


def test_error_ends_the_probe(bench: Bench) -> None:
    """Type and code are noted, the first error wins, the second is stale, a reply after it a duplicate."""
    bench.arm()
    t1 = bench.transmit()
    bench.later(5_000)
    bench.error(code=1)
    bench.later(5_000)
    bench.error(code=2)
    assert bench.completion == Completion(t1, 0, DEVICE, 3, 1)
    assert bench.unmatched == {"stale_error": 1}
    bench.reply()
    assert bench.completion == Completion(t1, 0, DEVICE, 3, 1)
    assert bench.table.late_and_duplicates(TARGET) == (0, 1)
    assert bench.rtts == (0, 0)


@pytest.mark.parametrize("is_transmit_known", [True, False])
def test_error_after_the_answer_is_stale(bench: Bench, is_transmit_known: bool) -> None:
    """The reply was first, recorded or waiting for its stamp: the error changes nothing and is counted."""
    bench.arm()
    if is_transmit_known:
        bench.transmit()
    bench.later(5_000)
    t4 = bench.reply()
    bench.error()
    bench.later(2_000 * MILLISECOND)
    bench.recorder.settle(bench.clock.poll())
    assert (bench.completion.received_ns, bench.completion.error_type) == (t4, 0)
    assert bench.unmatched == {"stale_error": 1} | ({} if is_transmit_known else {"not_transmitted": 1})


def test_transmit_stamp_later_than_the_reply_is_refused(bench: Bench) -> None:
    """No request leaves after its answer: the reply, which waits, stays a reply, and no RTT is negative."""
    bench.arm()
    bench.later(5_000)
    t4 = bench.reply()
    bench.later(MILLISECOND)
    bench.transmit()
    assert bench.recorder.refused_stamps == 1
    bench.later(2_000 * MILLISECOND)
    bench.recorder.settle(bench.clock.poll())
    assert bench.completion == Completion(0, t4, 0, 0, 0)
    assert bench.rtts == (0, 0)


def test_error_after_the_deadline_is_stale(bench: Bench) -> None:
    """The probe was lost by then."""
    bench.arm(timeout=100 * MILLISECOND)
    t1 = bench.transmit()
    bench.later(101 * MILLISECOND)
    bench.error()
    assert bench.completion == Completion(t1, 0, DEVICE, 0, 0)
    assert bench.unmatched == {"stale_error": 1}


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@pytest.mark.parametrize("step_before", ["transmit", "reply"])
def test_wall_clock_step_in_flight_changes_no_number(bench: Bench, step: int, step_before: str) -> None:
    """An hour either way, before t1 or between t1 and t4: instants and RTT are what they would have been."""
    bench.arm()
    bench.machine.offset += step if step_before == "transmit" else 0
    bench.later(40_000)
    t1 = bench.transmit()
    bench.machine.offset += step if step_before == "reply" else 0
    bench.later(123_456)
    t4 = bench.reply()
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (1, t4 - t1)
    assert bench.recorder.refused_stamps == 0


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_step_that_is_seen_only_after_both_stamps_changes_no_number(bench: Bench, step: int) -> None:
    """Both packets are read after the step that fell between them: t1 is of the old offset, t4 of the new."""
    bench.arm()
    t1, t1_stamp = bench.later(40_000), bench.machine.stamp()
    bench.machine.offset += step
    t4, t4_stamp = bench.later(90_000), bench.machine.stamp()
    bench.later(10_000)
    now = bench.clock.poll()
    bench.recorder.transmitted(SLOT, NONCE, t1_stamp, DEVICE, now)
    bench.recorder.received(Reply(ADDRESS, SLOT, NONCE, RIGHT), t4_stamp, now)
    bench.recorder.settle(now)
    assert bench.completion == Completion(t1, t4, DEVICE, 0, 0)
    assert bench.rtts == (1, 90_000)


def test_stamp_of_nowhere_is_refused_and_counted(bench: Bench) -> None:
    """A reply, an error and a transmit whose stamps lie an hour ahead: three refused, nothing recorded."""
    bench.arm()
    now = bench.clock.poll()
    stamp = bench.machine.stamp() + HOUR
    bench.recorder.transmitted(SLOT, NONCE, stamp, DEVICE, now)
    bench.recorder.received(Reply(ADDRESS, SLOT, NONCE, RIGHT), stamp, now)
    bench.recorder.received(IcmpError(3, 1, ADDRESS, SLOT, NONCE), stamp, now)
    bench.recorder.settle(now)
    assert bench.recorder.refused_stamps == 3
    assert bench.completion == Completion(0, 0, 0, 0, 0)
    assert bench.unmatched == {}


def test_waiting_reply_of_a_cleared_target_is_forgotten(bench: Bench) -> None:
    """The peer goes while a reply waits: nothing is written into the place, nothing counted."""
    bench.arm()
    bench.later(5_000)
    bench.reply()
    bench.table.clear_target(TARGET)
    bench.recorder.settle(bench.clock.poll())
    assert not bench.recorder.is_waiting
    assert bench.unmatched == {}
    assert bench.rtts == (0, 0)


def test_place_in_use_again_owes_nothing_to_a_waiting_reply(bench: Bench) -> None:
    """The target is cleared and probed anew while a reply waits: the new probe's reply is its own first answer."""
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
