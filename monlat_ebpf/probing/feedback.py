"""This node's side of what agents tell each other in their requests: what we say, and what we make of the answers."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.probes import ProbeTable
from monlat_ebpf.abi.sessions import ReceptionReport, Sessions
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import Result
from monlat_ebpf.probing.one_way import Exchange, OneWay

_PLACE_BITS: Final = (layout.PROBES_PER_TARGET - 1).bit_length()
_NONCE_BITS: Final = 64
_REPORTED_AROUND: Final = 16
"""How many sequences to either side of the one that it names a peer's word covers."""

MARGIN_NS: Final = 200_000_000
"""On top of the longest RTT so far, before a peer's silence about a probe means that it never saw it.

Between the making of the peer's word and its leaving lie the peer's scheduling (a CPU limit of a few percent holds it
for 100 ms) and its queues.
"""


def new_nonce(place: int) -> int:
    """Return a random nonce that names its place, and is never 0."""
    return secrets.randbelow((1 << _NONCE_BITS - _PLACE_BITS) - 1) + 1 << _PLACE_BITS | place


@dataclass(slots=True)
class Memory:
    """What is remembered of one target: which sequence each place held last, and the last exchanges."""

    sequences: dict[int, int] = field(default_factory=dict)  # nonce to sequence, of the last probe of each place
    one_way: OneWay = field(default_factory=OneWay)
    last_reported: int = 0

    @property
    def is_reported_lately(self) -> bool:
        """Whether the peer told of one of the last PROBES_PER_TARGET probes."""
        return self.last_reported in self.sequences

    def remember(self, nonce: int, sequence: int) -> None:
        """Enter a probe that is about to be sent."""
        place = nonce % layout.PROBES_PER_TARGET
        for old in [old for old in self.sequences if old % layout.PROBES_PER_TARGET == place]:
            del self.sequences[old]
        self.sequences[nonce] = sequence


def where_lost(
    sequence: int,
    transmitted_ns: int,
    heard: ReceptionReport | None,
    report_sequence: int | None,
    longest_rtt_ns: int | None,
) -> Result:
    """Return where a probe was lost that left this host and had no reply, as far as the peer's word tells.

    A peer that knows of a later probe says whether it saw this one. One that knows of earlier ones alone did not
    see it, if it spoke so late that the probe must have come by: later than any round trip took.
    """
    if heard is None or report_sequence is None:
        return Result.LOST_NETWORK
    ahead = sequence - report_sequence
    if ahead == 0:
        return Result.LOST_RETURN
    if -_REPORTED_AROUND <= ahead < 0:
        return Result.LOST_RETURN if heard.before >> (-ahead - 1) & 1 else Result.LOST_FORWARD
    if 0 < ahead <= _REPORTED_AROUND:
        from_this_one = heard.after >> (ahead - 1)
        if from_this_one:
            return Result.LOST_RETURN if from_this_one & 1 else Result.LOST_FORWARD
    if ahead > 0 and longest_rtt_ns is not None and heard.at_ns - transmitted_ns > longest_rtt_ns + MARGIN_NS:
        return Result.LOST_FORWARD
    return Result.LOST_NETWORK


class FeedbackChannel:
    """Speaks with all peers through the source's sessions."""

    def __init__(self, sessions: Sessions, table: ProbeTable, clock: WallClock) -> None:
        """`clock` gives the wall clock as this node has it; tests put it wrong."""
        self.sessions = sessions
        self._table = table
        self._clock = clock
        self._clock.poll()
        sessions.set_wall_offset(clock.offset_ns)

    def set_peer_index(self, targets: Mapping[bytes, int]) -> int:
        """Serve these mapped addresses; return how many found no place."""
        return self.sessions.set_peer_index(targets)

    @property
    def wall_offset_ns(self) -> int:
        """How far the wall clock is ahead of CLOCK_MONOTONIC."""
        return self._clock.offset_ns

    def feedback(self, target: int) -> bytes:
        """Return what the next request to `target` says."""
        before = self._clock.offset_ns
        self._clock.poll()
        if self._clock.offset_ns != before:
            self.sessions.set_wall_offset(self._clock.offset_ns)
        return self.sessions.feedback(target, self._clock.offset_ns)

    def listen(self, target: int, memory: Memory) -> None:
        """Take in what the peer told since the last time; call it before a place of the target is used again."""
        told = self.sessions.peer_report(target)
        if told is None or told.nonce == memory.last_reported:
            return
        memory.last_reported = told.nonce
        stamps = self._table.stamps(target * layout.PROBES_PER_TARGET + told.nonce % layout.PROBES_PER_TARGET)
        if stamps.nonce != told.nonce:
            return
        offset = self._clock.offset_ns
        memory.one_way.add(
            Exchange(
                stamps.transmitted_ns + offset,
                told.peer_received_ns,
                told.peer_received_ns + told.dwell_ns,
                stamps.received_ns + offset,
            )
        )

    def where_lost(
        self, target: int, memory: Memory, sequence: int, transmitted_ns: int, longest_rtt_ns: int | None
    ) -> Result:
        """Return where a probe of `target` was lost on the network."""
        heard = self.sessions.reception_report(target)
        report_sequence = memory.sequences.get(heard.nonce) if heard else None
        return where_lost(sequence, transmitted_ns, heard, report_sequence, longest_rtt_ns)
