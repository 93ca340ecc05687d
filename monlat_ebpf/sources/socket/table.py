"""The table of probes in this process's own memory, with the writes that the kernel program does by itself."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from mmap import mmap
from typing import Final, NamedTuple

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import bucket_of
from monlat_ebpf.abi.probes import Completion, ProbeTable, TableSize

_PROBE: Final = struct.Struct(layout.PROBE.format)
_U64: Final = struct.Struct("<Q")
_TRANSMITTED: Final = struct.Struct("<Q")
_DEVICE: Final = struct.Struct("<I")
_MOST_IN_A_BYTE: Final = 255


class Probe(NamedTuple):
    """A probe's place, member by member as in `bpf/monlat.h`; times are CLOCK_MONOTONIC, ns."""

    nonce: int
    sent: int
    deadline: int
    address: bytes
    transmitted: int
    received: int
    device: int
    error_type: int
    error_code: int
    replies: int
    errors: int


class SocketTable(ProbeTable):
    """The table, its lock, and a last look at the sockets before a probe is judged.

    Every method that touches a probe takes `lock`; whoever does several things at once, holds it around
    them. `catch_up` reads what waits in the sockets into this table: it is called before an unanswered
    probe past its deadline is read, so that no diagnosis depends on when the receiver's thread ran.
    """

    def __init__(self, size: TableSize, catch_up: Callable[[], object]) -> None:
        # anonymous mappings: memory of targets that are never used is never touched
        self._slots, self._sums = mmap(-1, size.probe_bytes), mmap(-1, size.target_bytes)
        self._counters = bytearray(size.unmatched_bytes)
        super().__init__(size, self._slots, self._sums, self._counters)
        self.lock = threading.RLock()
        self._catch_up = catch_up

    def arm(self, slot: int, *, nonce: int, sent_ns: int, deadline_ns: int, address: bytes) -> None:
        """Put a probe into place `slot`, before it is sent."""
        with self.lock:
            super().arm(slot, nonce=nonce, sent_ns=sent_ns, deadline_ns=deadline_ns, address=address)

    def completion(self, slot: int) -> Completion:
        """Return what is known of the probe in place `slot`; past its deadline, all that can be known."""
        with self.lock:
            probe = self.probe(slot)
            if probe.received == 0 and probe.error_type == 0 and 0 < probe.deadline < time.monotonic_ns():
                self._catch_up()
            return super().completion(slot)

    def clear_target(self, target: int) -> None:
        """Forget the target's probes and sums."""
        with self.lock:
            super().clear_target(target)

    def probe(self, slot: int) -> Probe:
        """Return the probe in place `slot`, which must be one."""
        return Probe._make(_PROBE.unpack_from(self._slots, slot * layout.PROBE.size))

    def write_transmitted(self, slot: int, at_ns: int, device: int) -> None:
        """Note t1 and the index of the interface."""
        base = slot * layout.PROBE.size
        _DEVICE.pack_into(self._slots, base + layout.PROBE.offset("device"), device)
        _TRANSMITTED.pack_into(self._slots, base + layout.PROBE.offset("transmitted"), at_ns)

    def write_received(self, slot: int, at_ns: int) -> None:
        """Note t4; whoever sees it may take the probe for complete."""
        _U64.pack_into(self._slots, slot * layout.PROBE.size + layout.PROBE.offset("received"), at_ns)

    def write_error(self, slot: int, kind: int, code: int) -> None:
        """Note the ICMP error that ended the probe."""
        base = slot * layout.PROBE.size
        self._slots[base + layout.PROBE.offset("error_code")] = code
        self._slots[base + layout.PROBE.offset("error_type")] = kind

    def count_reply(self, slot: int) -> None:
        """Count a packet that answered the probe."""
        at = slot * layout.PROBE.size + layout.PROBE.offset("replies")
        self._slots[at] = min(self._slots[at] + 1, _MOST_IN_A_BYTE)

    def mark_error_seen(self, slot: int) -> None:
        """Note that an ICMP error came for the probe."""
        self._slots[slot * layout.PROBE.size + layout.PROBE.offset("errors")] = 1

    def add_rtt(self, slot: int, rtt_ns: int) -> None:
        """Add a sample to the histogram of the target that `slot` belongs to."""
        self._add(self._sums, self._member(slot, "buckets") + bucket_of(rtt_ns) * _U64.size, 1)
        self._add(self._sums, self._member(slot, "rtt_sum"), rtt_ns)
        self._add(self._sums, self._member(slot, "replies"), 1)

    def count_late(self, slot: int) -> None:
        """Count a reply past its deadline."""
        self._add(self._sums, self._member(slot, "late"), 1)

    def count_duplicate(self, slot: int) -> None:
        """Count a reply that was not the first answer."""
        self._add(self._sums, self._member(slot, "duplicates"), 1)

    def count_unmatched(self, reason: int) -> None:
        """Count a packet that is no answer, by one of the UNMATCHED_ reasons."""
        self._add(self._counters, reason * _U64.size, 1)

    @staticmethod
    def _member(slot: int, name: str) -> int:
        return slot // layout.PROBES_PER_TARGET * layout.TARGET.size + layout.TARGET.offset(name)

    @staticmethod
    def _add(memory: bytearray | mmap, at: int, amount: int) -> None:
        (before,) = _U64.unpack_from(memory, at)
        _U64.pack_into(memory, at, before + amount)
