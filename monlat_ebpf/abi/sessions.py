"""What agents tell each other in their requests, as the kernel program keeps it (`bpf/responder.h`).

Memory in the layout of `bpf/monlat.h`. Times are CLOCK_MONOTONIC in nanoseconds, but for what the peer
says of its own wall clock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from monlat_ebpf.abi import layout, peer_index
from monlat_ebpf.abi.echo import NO_FEEDBACK
from monlat_ebpf.abi.probes import Memory, TableSize
from monlat_ebpf.model import Histogram

_EXCHANGE: Final = struct.Struct(layout.EXCHANGE.format)
_FEEDBACK: Final = struct.Struct(layout.FEEDBACK.format)
_HISTOGRAM: Final = struct.Struct(layout.HISTOGRAM.format)
_STATE: Final = struct.Struct("<QIIQQIIQ")
_STATE_OFFSET: Final = layout.SESSION.offset("served_nonce")
_REFUSED: Final = struct.Struct(layout.REJECTED_FEEDBACK.format)
_WALL_OFFSET: Final = struct.Struct("<Q")
_LARGEST_DWELL: Final = 2**32 - 1
_U64: Final = 2**64 - 1
_U32: Final = 2**32 - 1
_U16: Final = 2**16 - 1


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What a peer told of one probe of ours: t2 in the peer's wall time, and its dwell."""

    nonce: int
    peer_received_ns: int
    dwell_ns: int


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """The last word of a peer on which of our probes it saw.

    It came at `at_ns` and names `nonce`; bit i of `before` says whether the one i + 1 sequences before that was
    seen, bit i of `after` whether the one i + 1 sequences after it was. The highest bit of `after`, or the named one
    where there is none, is the newest that the peer had seen.
    """

    at_ns: int
    nonce: int
    before: int
    after: int = 0


def around(before: int, back: int) -> tuple[int, int]:
    """Return `before` and `after` of a word that names the request `back` sequences before the newest, up to 15.

    `before` as given is the newest's: bit i says whether the request i + 1 sequences before it was seen.
    """
    seen = before << 1 | 1  # bit i: the one i before the newest
    after = sum((seen >> (back - 1 - bit) & 1) << bit for bit in range(back))
    return before >> back & _U16, after


def _seen(before: int) -> Iterator[int]:
    """Yield how far back of the newest those requests are that were seen and may have their places still."""
    return (back for back in range(1, layout.PROBES_PER_TARGET) if before >> (back - 1) & 1)


def _dwell_ns(received_ns: int, transmitted_ns: int, requests: int) -> int:
    """Return the dwell as it can be told, 0 where it cannot.

    Of a request that came twice it cannot: which of two answers reached the peer is not known. One over 4.29 s has no
    room in the payload.
    """
    dwell = transmitted_ns - received_ns if transmitted_ns and requests <= 1 else 0
    return dwell if 0 < dwell <= _LARGEST_DWELL else 0


class Sessions:
    """Reads and writes the memory; holds no other state."""

    def __init__(
        self,
        size: TableSize,
        exchanges: Memory,
        sessions: Memory,
        peer_index_memory: Memory,
        settings: Memory,
        rejected_feedback: Memory,
    ) -> None:
        self._places = peer_index.entries_for(size.targets)
        self.use(exchanges, sessions, peer_index_memory, settings, rejected_feedback)

    def use(
        self,
        exchanges: Memory,
        sessions: Memory,
        peer_index_memory: Memory,
        settings: Memory,
        rejected_feedback: Memory,
    ) -> None:
        """Go on with other views of the same memory."""
        self._exchanges = exchanges
        self._sessions = sessions
        self._neighbours = peer_index_memory
        self._settings = settings
        self._refused = rejected_feedback

    def set_peer_index(self, targets: Mapping[bytes, int]) -> int:
        """Serve the requests of these mapped addresses, and of no others; return how many found no place."""
        table, unplaced = peer_index.build(targets, self._places)
        if self._neighbours[: len(table)] != table:  # written anew, an entry is half itself for a moment
            self._neighbours[: len(table)] = table
        return len(unplaced)

    def set_wall_offset(self, offset_ns: int) -> None:
        """Tell the kernel program how far the wall clock is ahead of CLOCK_MONOTONIC."""
        _WALL_OFFSET.pack_into(self._settings, 0, offset_ns & _U64)

    def feedback(self, target: int, wall_offset_ns: int) -> bytes:
        """Return what the next request to `target` shall say of its last ones to us, as it goes into the payload.

        That is of the last one answered, or where none of them was, of the last. While answers wait in a queue of
        this node the newest has none, and with nothing but the newest told of no dwell would ever be.
        """
        newest_nonce, newest, before, *_ = self._state(target)
        if newest_nonce == 0:
            return NO_FEEDBACK
        nonce, received, transmitted, _, requests, *_ = self._exchange(target, newest_nonce)
        dwell = _dwell_ns(received, transmitted, requests)
        back = 0
        if dwell == 0:
            for further in _seen(before):
                earlier, came, left, sequence, requests, *_ = self._exchange(target, newest_nonce - further)
                if sequence == newest - further & _U32 and _dwell_ns(came, left, requests):
                    back, nonce, received, dwell = further, earlier, came, _dwell_ns(came, left, requests)
                    break
        if (back == 0 and nonce != newest_nonce) or self._state(target)[:3] != (newest_nonce, newest, before):
            return NO_FEEDBACK  # a newer request came just now; the next one of ours tells of that
        return _FEEDBACK.pack(nonce, received + wall_offset_ns & _U64, dwell, *around(before, back))

    def peer_report(self, target: int) -> PeerReport | None:
        """Return what the peer last told of a probe of ours, None before it did."""
        return self.peer_report_of(target, self._state(target)[-1])

    def peer_report_of(self, target: int, nonce: int) -> PeerReport | None:
        """Return what the peer told of the probe with that nonce, None when it did not."""
        if nonce == 0:
            return None
        *_, reported_nonce, peer_received, dwell = self._exchange(target, nonce)
        return PeerReport(nonce, peer_received, dwell) if reported_nonce == nonce else None

    def reception_report(self, target: int) -> ReceptionReport | None:
        """Return which of our probes the peer last said it saw, None before it did."""
        _, _, _, at_ns, nonce, before, after, _ = self._state(target)
        return ReceptionReport(at_ns, nonce, before, after) if nonce else None

    def network_rtt(self, target: int) -> Histogram:
        """Return the histogram of RTT less dwell."""
        return self._histogram(target, "network_rtt")

    def dwell(self, target: int) -> Histogram:
        """Return the histogram of the time that this node took to answer."""
        return self._histogram(target, "dwell")

    def rejected_feedback(self) -> Mapping[str, int]:
        """Return the feedback that made no sample, by reason."""
        return dict(zip(layout.FEEDBACK_REASONS, _REFUSED.unpack_from(self._refused), strict=True))

    def clear(self, target: int) -> None:
        """Forget all of a target."""
        at = target * layout.SESSION.size
        self._sessions[at : at + layout.SESSION.size] = bytes(layout.SESSION.size)
        bytes_of_target = layout.PROBES_PER_TARGET * layout.EXCHANGE.size
        at = target * bytes_of_target
        self._exchanges[at : at + bytes_of_target] = bytes(bytes_of_target)

    def _exchange(self, target: int, nonce: int) -> tuple[int, ...]:
        slot = target * layout.PROBES_PER_TARGET + nonce % layout.PROBES_PER_TARGET
        return _EXCHANGE.unpack_from(self._exchanges, slot * layout.EXCHANGE.size)

    def _state(self, target: int) -> tuple[int, ...]:
        return _STATE.unpack_from(self._sessions, target * layout.SESSION.size + _STATE_OFFSET)

    def _histogram(self, target: int, member: str) -> Histogram:
        at = target * layout.SESSION.size + layout.SESSION.offset(member)
        _, total_ns, *buckets = _HISTOGRAM.unpack_from(self._sessions, at)
        return Histogram(tuple(buckets), total_ns)
