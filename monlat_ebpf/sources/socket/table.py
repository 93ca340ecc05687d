"""The table of probes in this process's own memory, with the writes that the kernel program does by itself."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from mmap import mmap
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import bucket_of
from monlat_ebpf.abi.layout import Memory
from monlat_ebpf.abi.probes import Completion, ProbeTable, TableSize

_TRANSMITTED: Final = layout.PROBE.part("transmitted")
_RECEIVED: Final = layout.PROBE.part("received")
_DEVICE: Final = layout.PROBE.part("device")
_ERROR_TYPE: Final = layout.PROBE.part("error_type")
_ERROR_CODE: Final = layout.PROBE.part("error_code")
_REPLIES: Final = layout.PROBE.part("replies")
_ERRORS: Final = layout.PROBE.part("errors")
_RTT_AT: Final = layout.TARGET.offset("rtt")
_COUNTER: Final = struct.Struct("<Q")
_BUCKET: Final = struct.Struct("<I")
_LARGEST_BYTE: Final = 255


class SocketTable(ProbeTable):
    """The table and its lock. Before it reports a probe as lost, it reads the sockets once more.

    Every method that touches a probe takes `lock`; a caller that needs several of them in one step holds it around
    them. Only `start` does not: its times are read after the sending, which nothing may delay.
    `catch_up` reads what waits in the sockets into this table. It is called before an unanswered probe is read after
    its deadline, so that no result depends on when the receiver's thread ran.
    """

    def __init__(self, size: TableSize, catch_up: Callable[[], object]) -> None:
        # anonymous mappings: the kernel allocates no memory for targets that are never used
        super().__init__(size, {name: mmap(-1, length) for name, length in size.map_bytes().items()})
        self.lock = threading.RLock()
        self._catch_up = catch_up

    def arm(self, slot: int, *, nonce: int, sent_ns: int, deadline_ns: int, address: bytes) -> None:
        """Put a probe into `slot`, before it is sent."""
        with self.lock:
            super().arm(slot, nonce=nonce, sent_ns=sent_ns, deadline_ns=deadline_ns, address=address)

    def completion(self, slot: int) -> Completion:
        """Return what is known of the probe in `slot`; after its deadline, all that can be known."""
        with self.lock:
            probe = self.probe(slot)
            if probe.received == 0 and probe.error_type == 0 and 0 < probe.deadline < time.monotonic_ns():
                self._catch_up()
            return super().completion(slot)

    def clear_target(self, target: int) -> None:
        """Forget the target's probes and counts."""
        with self.lock:
            super().clear_target(target)

    def write_transmitted(self, slot: int, at_ns: int, device: int) -> None:
        """Write t1 and the index of the interface."""
        _DEVICE.write(self._probes, slot, device)
        _TRANSMITTED.write(self._probes, slot, at_ns)

    def write_received(self, slot: int, at_ns: int) -> None:
        """Write t4; a reader that sees it may take the probe for complete."""
        _RECEIVED.write(self._probes, slot, at_ns)

    def write_error(self, slot: int, kind: int, code: int) -> None:
        """Write the ICMP error that ended the probe."""
        _ERROR_CODE.write(self._probes, slot, code)
        _ERROR_TYPE.write(self._probes, slot, kind)

    def count_reply(self, slot: int) -> None:
        """Count a packet that answers the probe."""
        _REPLIES.write(self._probes, slot, min(self.probe(slot).replies + 1, _LARGEST_BYTE))

    def mark_error_seen(self, slot: int) -> None:
        """Record that an ICMP error came for the probe."""
        _ERRORS.write(self._probes, slot, 1)

    def add_rtt(self, slot: int, rtt_ns: int) -> None:
        """Add a sample to the histogram of the target that `slot` belongs to."""
        buckets = _RTT_AT + layout.HISTOGRAM.offset("buckets")
        self._add_to_target(slot, buckets + bucket_of(rtt_ns) * _BUCKET.size, 1, _BUCKET)
        self._add_to_target(slot, _RTT_AT + layout.HISTOGRAM.offset("sum"), rtt_ns)
        self._add_to_target(slot, _RTT_AT + layout.HISTOGRAM.offset("count"), 1)

    def count_late(self, slot: int) -> None:
        """Count a reply after its deadline."""
        self._add_to_target(slot, layout.TARGET.offset("late"), 1)

    def count_duplicate(self, slot: int) -> None:
        """Count a reply that is not the first one of its probe."""
        self._add_to_target(slot, layout.TARGET.offset("duplicates"), 1)

    def count_unmatched(self, reason: int) -> None:
        """Count a packet that belongs to no probe, by one of the UNMATCHED_ reasons."""
        _add(self._counts, reason * _COUNTER.size, 1)

    def _add_to_target(self, slot: int, offset: int, amount: int, counter: struct.Struct = _COUNTER) -> None:
        _add(self._targets, slot // layout.PROBES_PER_TARGET * layout.TARGET.size + offset, amount, counter)


def _add(memory: Memory, at: int, amount: int, counter: struct.Struct = _COUNTER) -> None:
    (before,) = counter.unpack_from(memory, at)
    counter.pack_into(memory, at, before + amount)
