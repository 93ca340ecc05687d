"""The table of probes in flight, and the counts of each target, in the layout of `bpf/monlat.h`.

With the tracepoint source this memory is the kernel's own, mapped. With the socket source it is plain memory that a
thread of this process fills. Times are CLOCK_MONOTONIC in nanoseconds; 0 means not yet.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from monlat_ebpf.abi import histogram, layout, peer_index
from monlat_ebpf.abi.layout import Memory, Record
from monlat_ebpf.model import Address, Histogram

Memories = Mapping[str, Memory]
"""The memory of each map, by the map's name in `bpf/maps.h`."""

_NONCE: Final = layout.PROBE.part("nonce")
_TIMES: Final = layout.PROBE.part("sent", "deadline")

_UP_TO_RECEIVED: Final = layout.PROBE.part("nonce", "received")
_COMPLETION: Final = layout.PROBE.part("transmitted", "stamped_by")
_NONCE_AND_TIMES: Final = layout.PROBE.part("nonce", "deadline")
_OWN_STAMP: Final = layout.PROBE.nested("stamps", layout.STAMPS).part("own")
_RTT: Final = layout.TARGET.nested("rtt", layout.HISTOGRAM)
_LATE_AND_DUPLICATES: Final = layout.TARGET.part("late", "duplicates")


_new: Final = tuple.__new__
"""Makes a NamedTuple in half of the time."""

# What is done with each probe takes its offset at once: these are a part of the cost of a probe.
_PROBE_BYTES: Final = layout.PROBE.size
_SENT_AT: Final = layout.PROBE.offset("sent")
_TRANSMITTED_AT: Final = layout.PROBE.offset("transmitted")
_write_nonce: Final = struct.Struct(_NONCE.format).pack_into
_write_times: Final = struct.Struct(_TIMES.format).pack_into
_read_completion: Final = struct.Struct(_COMPLETION.format).unpack_from
_write_armed: Final = struct.Struct(
    f"{layout.PROBE.part('nonce', 'address').format}{_PROBE_BYTES - _TRANSMITTED_AT}x"
).pack_into
"""Writes the first members, and zeros into all others."""


@dataclass(frozen=True, slots=True)
class TableSize:
    """How many targets (addresses of peers) the maps have room for."""

    targets: int

    @property
    def slots(self) -> int:
        """The number of probes that can be in flight."""
        return self.targets * layout.PROBES_PER_TARGET

    def defines(self) -> dict[str, int]:
        """Return the macros that `bpf/maps.h` needs."""
        return {"TARGETS": self.targets, "PEER_INDEX_ENTRIES": peer_index.entries_for(self.targets)}

    def map_bytes(self, used_targets: int | None = None) -> dict[str, int]:
        """Return the size of each map, or of the part that its first `used_targets` targets take."""
        targets = self.targets if used_targets is None else used_targets
        terms = {**layout.CONSTANTS, **self.defines(), "TARGETS": targets}
        return {name: layout.evaluate(each.entries, terms) * each.layout.size for name, each in layout.MAPS.items()}


class Completion(NamedTuple):
    """What the source has written into a probe's slot so far.

    `own_stamp_ns` is when a hook in this network namespace saw the reply, delivered or not. `reply_device` and
    `stamped_by` are of the delivered reply; the socket source leaves them 0.
    """

    transmitted_ns: int
    received_ns: int
    device: int
    error_type: int
    error_code: int
    own_stamp_ns: int = 0
    reply_device: int = 0
    stamped_by: int = 0


class Reply(NamedTuple):
    """The stamps of a probe that was answered; fields as in Completion."""

    transmitted_ns: int
    received_ns: int
    device: int
    reply_device: int
    stamped_by: int


class Stamps(NamedTuple):
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

    def __init__(self, size: TableSize, memories: Memories) -> None:
        self.size = size
        self.use(memories)

    def use(self, memories: Memories) -> None:
        """Go on with other views of the same memory."""
        self._probes = memories["probes"]
        self._targets = memories["targets"]
        self._counts = memories["counts"]

    def arm(self, slot: int, *, nonce: int, sent_ns: int, deadline_ns: int, address: bytes) -> None:
        """Put a probe into `slot`, before it is sent. `address` as `mapped` gives it.

        The old nonce goes first and the new one comes last, so that a reply to the slot's former probe never meets
        one half of each.
        """
        offset = slot * _PROBE_BYTES
        _write_armed(self._probes, offset, 0, sent_ns, deadline_ns, address)
        _write_nonce(self._probes, offset, nonce)

    def probe(self, slot: int) -> Record:
        """Return the probe in `slot`, which must exist, as a `struct probe`. The source may write it meanwhile."""
        return layout.PROBE.read(self._probes, slot)

    def start(self, slot: int, timeout_ns: int) -> int:
        """Take t0 of the armed probe in `slot`, immediately before it is sent, and return it.

        Its deadline is `timeout_ns` later. A source reads these times only when a reply has come.
        """
        offset = slot * _PROBE_BYTES + _SENT_AT
        sent_ns = time.monotonic_ns()
        _write_times(self._probes, offset, sent_ns, sent_ns + timeout_ns)
        return sent_ns

    def starter(self, timeout_ns: int) -> Callable[[int], int]:
        """Return a function that is `start` of a slot with that time-out, for the loop that sends many probes."""
        now, write = time.monotonic_ns, _write_times

        def start(slot: int) -> int:
            sent_ns = now()
            write(self._probes, slot * _PROBE_BYTES + _SENT_AT, sent_ns, sent_ns + timeout_ns)
            return sent_ns

        return start

    def times(self, slot: int) -> tuple[int, int]:
        """Return t0 and the deadline of the probe in `slot`."""
        times = _TIMES.read(self._probes, slot)
        return times.sent, times.deadline

    def completion(self, slot: int) -> Completion:
        """Return what is known of the probe in `slot`.

        The kernel program may write between two loads of this read, and a processor with weak memory ordering shows its
        stores in any order. So read again until nothing has changed: by then all stores of one packet are visible.
        """
        completion, again = None, self._completion(slot)
        while completion != again:
            completion, again = again, self._completion(slot)
        return again

    def reply(self, slot: int, sent_ns: int, deadline_ns: int) -> Reply | None:
        """Return the stamps of the probe in `slot` if it left after `sent_ns` and was answered by `deadline_ns`.

        None says only that `completion` must tell. This is the short way for what almost every probe is.
        """
        offset = slot * _PROBE_BYTES + _TRANSMITTED_AT
        values = _read_completion(self._probes, offset)
        transmitted, received, device, error_type, _, _, _, reply_device, stamped_by = values
        if error_type or not sent_ns <= transmitted < received <= deadline_ns:
            return None
        if _read_completion(self._probes, offset) != values:  # as in `completion`
            return None
        return _new(Reply, (transmitted, received, device, reply_device, stamped_by))

    def sent_ns(self, slot: int) -> int:
        """Return t0 of the probe in `slot`."""
        sent: int = _NONCE_AND_TIMES.values_at(self._probes, slot)[1]
        return sent

    def nonce(self, slot: int) -> int:
        """Return the nonce of the probe in `slot`, 0 if it is empty."""
        nonce: int = _NONCE_AND_TIMES.values_at(self._probes, slot)[0]
        return nonce

    def _completion(self, slot: int) -> Completion:
        probe = _COMPLETION.read(self._probes, slot)
        return Completion(
            probe.transmitted,
            probe.received,
            probe.device,
            probe.error_type,
            probe.error_code,
            _OWN_STAMP.read(self._probes, slot).own,
            probe.reply_device,
            probe.stamped_by,
        )

    def stamps(self, slot: int) -> Stamps:
        """Return the nonce and the stamps of the probe in `slot`."""
        probe = _UP_TO_RECEIVED.read(self._probes, slot)
        return Stamps(probe.nonce, probe.sent, probe.transmitted, probe.received)

    def clear_target(self, target: int) -> None:
        """Forget the target's probes and counts; later replies to these probes are unmatched."""
        for slot in range(target * layout.PROBES_PER_TARGET, (target + 1) * layout.PROBES_PER_TARGET):
            _NONCE.write(self._probes, slot, 0)
        layout.TARGET.clear(self._targets, target)

    def histogram(self, target: int) -> Histogram:
        """Return the target's RTT histogram."""
        return histogram.from_record(_RTT.read(self._targets, target))

    def late_and_duplicates(self, target: int) -> tuple[int, int]:
        """Return how many replies came after their deadline, and how many were not the first of their probe."""
        counts = _LATE_AND_DUPLICATES.read(self._targets, target)
        return counts.late, counts.duplicates

    def raw_counts(self, target: int) -> bytes:
        """Return the `struct target` of the target as it is in memory: `abi.histogram` reads it."""
        return layout.TARGET.raw(self._targets, target)

    def unmatched_packets(self) -> Mapping[str, int]:
        """Return the packets that belong to no probe, by reason."""
        packets = layout.COUNTS.read(self._counts).packets
        return dict(zip(layout.UNMATCHED_REASONS, packets, strict=False))
