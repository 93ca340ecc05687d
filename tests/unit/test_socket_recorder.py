"""The rules of `bpf/core.h` in Python: what each stamp and message does to the table."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from monlat_ebpf.abi.probes import Completion, mapped
from monlat_ebpf.sources.socket.messages import IcmpError, Reply, Unmatched
from tests.unit.recorder_bench import ADDRESS, DEVICE, NONCE, RIGHT, SLOT, TARGET, WRONG, Bench
from tests.unit.socket_clocks import MILLISECOND


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


def test_error_after_the_deadline_is_stale(bench: Bench) -> None:
    """The probe was already lost."""
    bench.arm(timeout=100 * MILLISECOND)
    t1 = bench.transmit()
    bench.later(101 * MILLISECOND)
    bench.error()
    assert bench.completion == Completion(t1, 0, DEVICE, 0, 0)
    assert bench.unmatched == {"stale_error": 1}
