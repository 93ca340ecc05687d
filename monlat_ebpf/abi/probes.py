"""The table of probes, sums and counters that a source fills: memory in the layout of `bpf/monlat.h`.

With the tracepoint source this memory is the kernel's own, mapped; with the socket source it is plain
memory that a thread of this process fills. Times are CLOCK_MONOTONIC in nanoseconds, 0 means not yet.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from mmap import mmap
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.model import Address, Histogram

Memory = bytearray | mmap

_PROBE: Final = struct.Struct(layout.PROBE.format)
_ARMED: Final = struct.Struct("<QQ16s")
_COMPLETED_OFFSET: Final = layout.PROBE.offset("transmitted")
_BLANK: Final = bytes(layout.PROBE.size - _COMPLETED_OFFSET)
_NONCE: Final = struct.Struct("<Q")
_SUMS: Final = struct.Struct("<QQQQ")
_BUCKETS: Final = struct.Struct(f"<{layout.BUCKETS}Q")
_BUCKETS_OFFSET: Final = layout.TARGET.offset("buckets")
_UNMATCHED: Final = struct.Struct(layout.UNMATCHED.format)


@dataclass(frozen=True, slots=True)
class TableSize:
    """How many targets (addresses of peers) a table has room for; bytes of each of its three parts."""

    targets: int

    @property
    def slots(self) -> int:
        """Places for probes in flight."""
        return self.targets * layout.PROBES_PER_TARGET

    @property
    def probe_bytes(self) -> int:
        """Size of the places for probes."""
        return self.slots * layout.PROBE.size

    @property
    def target_bytes(self) -> int:
        """Size of the sums."""
        return self.targets * layout.TARGET.size

    @property
    def unmatched_bytes(self) -> int:
        """Size of the counters of unmatched packets."""
        return layout.UNMATCHED.size


@dataclass(frozen=True, slots=True)
class Completion:
    """What the source has written into a probe's place so far."""

    transmitted_ns: int
    received_ns: int
    device: int
    error_type: int
    error_code: int


@dataclass(frozen=True, slots=True)
class Stamps:
    """A probe's nonce, t0, t1 and t4."""

    nonce: int
    sent_ns: int
    transmitted_ns: int
    received_ns: int


def mapped(address: Address) -> bytes:
    """Return `address` in 16 bytes, IPv4 as ::ffff:a.b.c.d."""
    if isinstance(address, IPv4Address):
        return bytes(10) + b"\xff\xff" + address.packed
    return address.packed


class ProbeTable:
    """Reads and writes the memory; holds no other state."""

    def __init__(self, size: TableSize, probes: Memory, targets: Memory, unmatched: Memory) -> None:
        self.size = size
        self.use(probes, targets, unmatched)

    def use(self, probes: Memory, targets: Memory, unmatched: Memory) -> None:
        """Go on with other views of the same memory."""
        self._probes = probes
        self._targets = targets
        self._unmatched = unmatched

    def arm(self, slot: int, *, nonce: int, sent_ns: int, deadline_ns: int, address: bytes) -> None:
        """Put a probe into place `slot`, before it is sent. `address` as `mapped` gives it.

        The nonce comes last and is gone first: an answer to the place's former probe never meets half of
        the new one.
        """
        at = slot * layout.PROBE.size
        _NONCE.pack_into(self._probes, at, 0)
        _ARMED.pack_into(self._probes, at + 8, sent_ns, deadline_ns, address)
        self._probes[at + _COMPLETED_OFFSET : at + layout.PROBE.size] = _BLANK
        _NONCE.pack_into(self._probes, at, nonce)

    def completion(self, slot: int) -> Completion:
        """Return what is known of the probe in place `slot`."""
        fields = _PROBE.unpack_from(self._probes, slot * layout.PROBE.size)
        return Completion(*fields[4:9])

    def stamps(self, slot: int) -> Stamps:
        """Return the probe in place `slot`, its nonce with it."""
        fields = _PROBE.unpack_from(self._probes, slot * layout.PROBE.size)
        return Stamps(fields[0], fields[1], fields[4], fields[5])

    def clear_target(self, target: int) -> None:
        """Forget the target's probes and sums; later answers to them are unmatched."""
        for slot in range(target * layout.PROBES_PER_TARGET, (target + 1) * layout.PROBES_PER_TARGET):
            _NONCE.pack_into(self._probes, slot * layout.PROBE.size, 0)
        at = target * layout.TARGET.size
        self._targets[at : at + layout.TARGET.size] = bytes(layout.TARGET.size)

    def histogram(self, target: int) -> Histogram:
        """Return the target's RTT histogram."""
        at = target * layout.TARGET.size
        _, total_ns, _, _ = _SUMS.unpack_from(self._targets, at)
        return Histogram(_BUCKETS.unpack_from(self._targets, at + _BUCKETS_OFFSET), total_ns)

    def late_and_duplicates(self, target: int) -> tuple[int, int]:
        """Return how many replies came past their deadline, and how many more than once."""
        _, _, late, duplicates = _SUMS.unpack_from(self._targets, target * layout.TARGET.size)
        return late, duplicates

    def unmatched_packets(self) -> Mapping[str, int]:
        """Return the packets that were no answer to a probe of ours, by reason."""
        return dict(zip(layout.UNMATCHED_REASONS, _UNMATCHED.unpack_from(self._unmatched), strict=True))
