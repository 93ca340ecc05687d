"""What agents tell each other in their requests, as the kernel program keeps it (`bpf/responder.h`).

Memory in the layout of `bpf/monlat.h`. Times are CLOCK_MONOTONIC in nanoseconds, but for what the peer
says of its own wall clock.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monlat_ebpf import abi, neighbours
from monlat_ebpf.model import Histogram
from monlat_ebpf.packet import NO_FEEDBACK
from monlat_ebpf.table import Memory, TableSize

_EXCHANGE: Final = struct.Struct(abi.EXCHANGE.format)
_FEEDBACK: Final = struct.Struct(abi.FEEDBACK.format)
_HISTOGRAM: Final = struct.Struct(abi.HISTOGRAM.format)
_STATE: Final = struct.Struct("<QIIQQQQ")
_STATE_OFFSET: Final = abi.CONVERSATION.offset("served_nonce")
_REFUSED: Final = struct.Struct(abi.REFUSED_FEEDBACK.format)
_WALL_OFFSET: Final = struct.Struct("<Q")
_LARGEST_DWELL: Final = 2**32 - 1
_U64: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Told:
    """What a peer told of one probe of ours: t2 in the peer's wall time, and its dwell."""

    nonce: int
    peer_received_ns: int
    dwell_ns: int


@dataclass(frozen=True, slots=True)
class Heard:
    """The last word of a peer on which of our probes it saw.

    It came at `at_ns` and names the last one, `nonce`; bit i of `before` says whether the one i + 1 sequences
    before it was seen.
    """

    at_ns: int
    nonce: int
    before: int


class Conversations:
    """Reads and writes the memory; holds no other state."""

    def __init__(
        self,
        size: TableSize,
        exchanges: Memory,
        conversations: Memory,
        neighbour_table: Memory,
        settings: Memory,
        refused_feedback: Memory,
    ) -> None:
        self._places = neighbours.neighbours_for(size.targets)
        self.use(exchanges, conversations, neighbour_table, settings, refused_feedback)

    def use(
        self,
        exchanges: Memory,
        conversations: Memory,
        neighbour_table: Memory,
        settings: Memory,
        refused_feedback: Memory,
    ) -> None:
        """Go on with other views of the same memory."""
        self._exchanges = exchanges
        self._conversations = conversations
        self._neighbours = neighbour_table
        self._settings = settings
        self._refused = refused_feedback

    def set_neighbours(self, targets: Mapping[bytes, int]) -> int:
        """Serve the requests of these mapped addresses, and of no others; return how many found no place."""
        table, homeless = neighbours.build(targets, self._places)
        self._neighbours[: len(table)] = table
        return len(homeless)

    def set_wall_offset(self, offset_ns: int) -> None:
        """Tell the kernel program how far the wall clock is ahead of CLOCK_MONOTONIC."""
        _WALL_OFFSET.pack_into(self._settings, 0, offset_ns & _U64)

    def feedback(self, target: int, wall_offset_ns: int) -> bytes:
        """Return what the next request to `target` shall say of its last one to us, as it goes into the payload."""
        served_nonce, _, before, *_ = self._state(target)
        if served_nonce == 0:
            return NO_FEEDBACK
        nonce, received, transmitted, *_ = self._exchange(target, served_nonce)
        if nonce != served_nonce:
            return NO_FEEDBACK  # its place was taken by a newer one just now; the next request tells of that
        dwell = transmitted - received if transmitted else 0
        if dwell > _LARGEST_DWELL:
            dwell = 0  # seen; but so long a dwell has no room in the payload
        return _FEEDBACK.pack(nonce, received + wall_offset_ns & _U64, dwell, before)

    def told(self, target: int) -> Told | None:
        """Return what the peer last told of a probe of ours, None before it did."""
        return self.told_of(target, self._state(target)[-1])

    def told_of(self, target: int, nonce: int) -> Told | None:
        """Return what the peer told of the probe with that nonce, None when it did not."""
        if nonce == 0:
            return None
        *_, told_nonce, peer_received, dwell = self._exchange(target, nonce)
        return Told(nonce, peer_received, dwell) if told_nonce == nonce else None

    def heard(self, target: int) -> Heard | None:
        """Return which of our probes the peer last said it saw, None before it did."""
        _, _, _, at_ns, nonce, before, _ = self._state(target)
        return Heard(at_ns, nonce, before) if nonce else None

    def network_rtt(self, target: int) -> Histogram:
        """Return the histogram of RTT less dwell."""
        return self._histogram(target, "network_rtt")

    def dwell(self, target: int) -> Histogram:
        """Return the histogram of the time that this node took to answer."""
        return self._histogram(target, "dwell")

    def refused_feedback(self) -> Mapping[str, int]:
        """Return the feedback that made no sample, by reason."""
        return dict(zip(abi.FEEDBACK_REASONS, _REFUSED.unpack_from(self._refused), strict=True))

    def clear(self, target: int) -> None:
        """Forget all of a target."""
        at = target * abi.CONVERSATION.size
        self._conversations[at : at + abi.CONVERSATION.size] = bytes(abi.CONVERSATION.size)
        bytes_of_target = abi.PROBES_PER_TARGET * abi.EXCHANGE.size
        at = target * bytes_of_target
        self._exchanges[at : at + bytes_of_target] = bytes(bytes_of_target)

    def _exchange(self, target: int, nonce: int) -> tuple[int, ...]:
        slot = target * abi.PROBES_PER_TARGET + nonce % abi.PROBES_PER_TARGET
        return _EXCHANGE.unpack_from(self._exchanges, slot * abi.EXCHANGE.size)

    def _state(self, target: int) -> tuple[int, ...]:
        return _STATE.unpack_from(self._conversations, target * abi.CONVERSATION.size + _STATE_OFFSET)

    def _histogram(self, target: int, member: str) -> Histogram:
        at = target * abi.CONVERSATION.size + abi.CONVERSATION.offset(member)
        _, total_ns, *buckets = _HISTOGRAM.unpack_from(self._conversations, at)
        return Histogram(tuple(buckets), total_ns)
