"""What a stamp or a message does to the table: the rules of `bpf/core.h`, with stamps of the wall clock.

One thing differs. Transmit stamps and replies come in different queues, so a reply waits here until the stamp of its
request is known or its deadline has passed. The reply's own stamp decides whether it was in time.
"""

from __future__ import annotations

from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.layout import Record
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.sources.socket.messages import IcmpError, Message, Reply, Unmatched
from monlat_ebpf.sources.socket.table import SocketTable

_SLOT_OUT_OF_RANGE: Final = layout.CONSTANTS["UNMATCHED_SLOT_OUT_OF_RANGE"]
_NO_PROBE: Final = layout.CONSTANTS["UNMATCHED_NO_PROBE"]
_NONCE_MISMATCH: Final = layout.CONSTANTS["UNMATCHED_NONCE_MISMATCH"]
_WRONG_ADDRESS: Final = layout.CONSTANTS["UNMATCHED_WRONG_ADDRESS"]
_BAD_CHECKSUM: Final = layout.CONSTANTS["UNMATCHED_BAD_CHECKSUM"]
_STALE_ERROR: Final = layout.CONSTANTS["UNMATCHED_STALE_ERROR"]
_NOT_TRANSMITTED: Final = layout.CONSTANTS["UNMATCHED_NOT_TRANSMITTED"]


class Recorder:
    """Writes into `table`, whose lock the caller holds. Stamps are CLOCK_REALTIME, ns; `now_ns` is monotonic.

    `rejected_stamps` counts the stamps that no offset of the clock explains; their packets are not used.
    """

    def __init__(self, table: SocketTable, clock: WallClock) -> None:
        self.rejected_stamps = 0
        self._table = table
        self._clock = clock
        self._waiting: dict[tuple[int, int], int] = {}  # slot and nonce: t4

    @property
    def is_waiting(self) -> bool:
        """Whether a reply waits for the stamp of its request."""
        return bool(self._waiting)

    def transmitted(self, slot: int, nonce: int, stamp_ns: int, device: int, now_ns: int) -> None:
        """A driver has received the request of `slot`. The last stamp wins, until the reply is recorded."""
        if slot >= self._table.size.slots:
            return
        probe = self._table.probe(slot)
        if nonce == 0 or probe.nonce != nonce or probe.received:
            return
        at = self._to_monotonic(stamp_ns, probe.sent, self._waiting.get((slot, nonce), now_ns))
        if at is not None:
            self._table.write_transmitted(slot, at, device)

    def received(self, message: Message, stamp_ns: int, now_ns: int) -> None:
        """A message has entered the stack. Pass all available transmit stamps to `transmitted` before."""
        match message:
            case Reply():
                self._reply(message, stamp_ns, now_ns)
            case IcmpError():
                self._error(message, stamp_ns, now_ns)
            case Unmatched(reason):
                self._table.count_unmatched(reason)

    def record_waiting(self, now_ns: int) -> None:
        """Record the replies whose request has its stamp by now, or has passed its deadline without one."""
        for (slot, nonce), at in list(self._waiting.items()):
            probe = self._table.probe(slot)
            if probe.nonce == nonce and probe.transmitted == 0 and now_ns <= probe.deadline:
                continue
            del self._waiting[slot, nonce]
            if probe.nonce != nonce:
                continue  # the target was cleared
            if probe.transmitted == 0:
                self._table.count_unmatched(_NOT_TRANSMITTED)
            else:
                self._table.add_rtt(slot, at - probe.transmitted)
            self._table.write_received(slot, at)

    def _reply(self, reply: Reply, stamp_ns: int, now_ns: int) -> None:
        probe = self._find(reply.slot, reply.nonce, reply.source)
        if probe is None:
            return
        if not reply.is_checksum_right():
            self._table.count_unmatched(_BAD_CHECKSUM)
            return
        if self._is_open(probe, reply.slot):
            at = self._to_monotonic(stamp_ns, probe.transmitted or probe.sent, now_ns)
            if at is None:
                return
            if at > probe.deadline:
                self._table.count_late(reply.slot)
                self._table.write_received(reply.slot, at)
            else:
                self._waiting[reply.slot, reply.nonce] = at
        if probe.replies:
            self._table.count_duplicate(reply.slot)
        self._table.count_reply(reply.slot)

    def _error(self, error: IcmpError, stamp_ns: int, now_ns: int) -> None:
        probe = self._find(error.slot, error.nonce, error.destination)
        if probe is None:
            return
        ends_probe = False
        if self._is_open(probe, error.slot):
            at = self._to_monotonic(stamp_ns, probe.sent, now_ns)
            if at is None:
                return
            ends_probe = at <= probe.deadline
            if ends_probe:
                self._table.write_error(error.slot, error.type, error.code)
        if probe.errors or not (ends_probe or probe.error_type):
            self._table.count_unmatched(_STALE_ERROR)
        self._table.mark_error_seen(error.slot)

    def _is_open(self, probe: Record, slot: int) -> bool:
        is_open: bool = probe.received == 0 and probe.error_type == 0 and (slot, probe.nonce) not in self._waiting
        return is_open

    def _find(self, slot: int, nonce: int, address: bytes) -> Record | None:
        """Return the probe that a message is for; if there is none, count the message as unmatched."""
        if slot >= self._table.size.slots:
            self._table.count_unmatched(_SLOT_OUT_OF_RANGE)
            return None
        probe = self._table.probe(slot)
        if probe.nonce == 0:
            self._table.count_unmatched(_NO_PROBE)
        elif probe.nonce != nonce:
            self._table.count_unmatched(_NONCE_MISMATCH)
        elif probe.address != address:
            self._table.count_unmatched(_WRONG_ADDRESS)
        else:
            return probe
        return None

    def _to_monotonic(self, stamp_ns: int, earliest_ns: int, latest_ns: int) -> int | None:
        at = self._clock.to_monotonic(stamp_ns, earliest_ns, latest_ns)
        if at is None:
            self.rejected_stamps += 1
        return at
