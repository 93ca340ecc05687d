"""The shared memory, byte by byte. Offsets are counted by hand from bpf/monlat.h (see test_layout)."""

from __future__ import annotations

import itertools
import mmap
import struct
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import pytest

from monlat_ebpf.abi.layout import Memory
from monlat_ebpf.abi.probes import Completion, ProbeTable, TableSize, mapped

TARGETS = 3
PROBE, TARGET = 96, 776
BUCKETS, LATE = 16, 16 + 4 * 186
Parts = tuple[Memory, Memory, Memory]


@pytest.fixture(params=["bytearray", "mmap"])
def parts(request: pytest.FixtureRequest) -> Iterator[Parts]:
    lengths = (TARGETS * 16 * PROBE, TARGETS * TARGET, 104)
    if request.param == "bytearray":
        probes, targets, counts = (bytearray(length) for length in lengths)
        yield probes, targets, counts
    else:
        with mmap.mmap(-1, lengths[0]) as a, mmap.mmap(-1, lengths[1]) as b, mmap.mmap(-1, lengths[2]) as c:
            yield a, b, c


@pytest.fixture
def table(parts: Parts) -> ProbeTable:
    return ProbeTable(TableSize(TARGETS), dict(zip(("probes", "targets", "counts"), parts, strict=True)))


def test_sizes() -> None:
    """7 targets of 16 slots: the bytes of each map by hand; of the first two targets alone the peer index is whole."""
    size = TableSize(7)
    whole = {
        "probes": 112 * 96, "targets": 7 * 776, "exchanges": 224 * 56, "sessions": 7 * 1656,
        "peer_index": 32 * 24, "settings": 48, "counts": 104,
    }  # fmt: skip
    assert size.slots == 112
    assert size.map_bytes() == whole
    of_two = {"probes": 32 * 96, "targets": 2 * 776, "exchanges": 64 * 56, "sessions": 2 * 1656}
    assert size.map_bytes(used_targets=2) == whole | of_two


def test_addresses_are_sixteen_bytes() -> None:
    """IPv6 as it is, IPv4 as ::ffff:a.b.c.d."""
    assert mapped(ip_address("10.1.2.3")) == bytes.fromhex("00000000000000000000ffff0a010203")
    assert mapped(ip_address("fd77::1")) == bytes.fromhex("fd770000000000000000000000000001")


def test_arming_writes_only_its_slot(table: ProbeTable, parts: Parts) -> None:
    """Nonce, times and address are where C reads them, the former probe is gone, other slots keep their bytes."""
    probes = parts[0]
    probes[:] = b"\xaa" * len(probes)
    table.arm(17, nonce=0x1122334455667788, sent_ns=5, deadline_ns=6, address=bytes(range(16)))
    armed = struct.pack("<QQQ", 0x1122334455667788, 5, 6) + bytes(range(16)) + bytes(56)
    assert probes[17 * PROBE : 18 * PROBE] == armed
    assert probes[: 17 * PROBE] == b"\xaa" * (17 * PROBE)
    assert probes[18 * PROBE :] == b"\xaa" * (len(probes) - 18 * PROBE)


def test_start_writes_t0_and_a_deadline_from_the_same_instant(table: ProbeTable, parts: Parts) -> None:
    """t0 is the time of the call, the deadline 7 ns later; every other byte of the slot stays."""
    table.arm(17, nonce=0x1122334455667788, sent_ns=5, deadline_ns=6, address=bytes(range(16)))
    before = time.monotonic_ns()
    table.start(17, timeout_ns=7)
    after = time.monotonic_ns()
    sent, deadline = table.times(17)
    assert before <= sent <= after
    assert deadline == sent + 7
    started = struct.pack("<QQQ", 0x1122334455667788, sent, deadline) + bytes(range(16)) + bytes(56)
    assert parts[0][17 * PROBE : 18 * PROBE] == started


def test_armed_probe_has_no_stamps(table: ProbeTable) -> None:
    """Everything that a source writes later is zero."""
    table.arm(0, nonce=1, sent_ns=2, deadline_ns=3, address=bytes(16))
    assert table.completion(0) == Completion(0, 0, 0, 0, 0)


def test_completion_reads_what_the_source_wrote(table: ProbeTable, parts: Parts) -> None:
    """t1, t4, device, ICMP type and code; then the device of the reply, who stamped it, and the hook's stamp."""
    struct.pack_into("<QQIBBBB", parts[0], 47 * PROBE + 40, 2**63 + 1, 2**63 + 2, 77, 3, 13, 200, 1)
    struct.pack_into("<IIQQIHH", parts[0], 47 * PROBE + 64, 78, 2, 2**63 + 3, 9, 9, 9, 9)
    assert table.completion(47) == Completion(2**63 + 1, 2**63 + 2, 77, 3, 13, 2**63 + 3, 78, 2)


WRITTEN = {"received_ns": 900, "reply_device": 78, "stamped_by": 2}
"""What the filter stores when it delivers a reply."""


class WrittenMeanwhile(ProbeTable):
    """A table that reads one member in each unit of time; each member of WRITTEN is 0 until its time in `stored`."""

    def __init__(self, stored: Sequence[int]) -> None:
        self.stored = dict(zip(WRITTEN, stored, strict=True))
        self.now = 0

    def _completion(self, slot: int) -> Completion:
        values = dict.fromkeys(Completion._fields, 0)
        for member in Completion._fields:
            if member in WRITTEN and self.stored[member] <= self.now:
                values[member] = WRITTEN[member]
            self.now += 1
        return Completion(**values)


def test_reply_that_is_written_meanwhile_is_read_whole() -> None:
    """Whenever its stores become visible, and in any order, within the time of one read: all are read, or no reply is.

    A processor with weak memory ordering shows stores in any order, but soon.
    """
    read = len(Completion._fields)
    for begin, delays in itertools.product(range(2 * read), itertools.product((0, 3, 5, read), repeat=3)):
        completion = WrittenMeanwhile([begin + delay for delay in delays]).completion(0)
        assert completion.received_ns == 0 or completion == Completion(0, 900, 0, 0, 0, 0, 78, 2), (begin, delays)


def test_counts_are_read_by_target(table: ProbeTable, parts: Parts) -> None:
    """Each target's own histogram, sum, late and duplicate replies."""
    struct.pack_into("<QQ", parts[1], 1 * TARGET, 9, 1000)
    struct.pack_into("<I", parts[1], 1 * TARGET + BUCKETS + 4 * 185, 5)
    struct.pack_into("<I", parts[1], 1 * TARGET + BUCKETS, 4)
    struct.pack_into("<QQ", parts[1], 1 * TARGET + LATE, 3, 4)
    histogram = table.histogram(1)
    assert histogram.buckets == (4, *[0] * 184, 5)
    assert histogram.sum_ns == 1000
    assert histogram.count == 9
    assert table.late_and_duplicates(1) == (3, 4)
    for other in (0, 2):
        assert table.histogram(other).count == 0
        assert table.late_and_duplicates(other) == (0, 0)


def test_clearing_a_target_keeps_the_others(table: ProbeTable, parts: Parts) -> None:
    """Its 16 nonces and its counts become zero; the targets before and after keep every byte."""
    probes, targets, _ = parts
    probes[:] = b"\xaa" * len(probes)
    targets[:] = b"\xbb" * len(targets)
    table.clear_target(1)
    assert [struct.unpack_from("<Q", probes, slot * PROBE)[0] for slot in range(16, 32)] == [0] * 16
    assert targets[TARGET : 2 * TARGET] == bytes(TARGET)
    assert probes[: 16 * PROBE] == b"\xaa" * (16 * PROBE)
    assert probes[32 * PROBE :] == b"\xaa" * (16 * PROBE)
    assert targets[:TARGET] == b"\xbb" * TARGET
    assert targets[2 * TARGET :] == b"\xbb" * TARGET


def test_unmatched_packets_by_reason(table: ProbeTable, parts: Parts) -> None:
    """The n-th counter has the n-th reason's name."""
    struct.pack_into("<13Q", parts[2], 0, *range(100, 113))
    counts = table.unmatched_packets()
    assert counts["malformed_payload"] == 100
    assert counts["nonce_mismatch"] == 103
    assert counts["not_transmitted"] == 108
    assert sum(counts.values()) == 936
