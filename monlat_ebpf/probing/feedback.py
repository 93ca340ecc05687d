"""What this node's agent reports to its peers in its requests, and what it learns from their reports."""

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
from monlat_ebpf.sources import Source

_POSITION_BITS: Final = (layout.PROBES_PER_TARGET - 1).bit_length()
_NONCE_BITS: Final = 64
_REPORTED_AROUND: Final = 16
"""How many sequences to either side of the one that it names a reception report covers."""

MARGIN_NS: Final = 200_000_000
"""Covers the peer's scheduling and queueing delay between building a report and sending it.

A CPU limit of a few percent holds a process for 100 ms. This is added to the longest RTT so far: a report that comes
later than both after a probe, and does not know the probe, means that the peer never received it.
"""


def new_nonce(sequence: int) -> int:
    """Return a random nonce, never 0, whose lowest bits are those of `sequence`: the probe's position."""
    position = sequence % layout.PROBES_PER_TARGET
    return secrets.randbelow((1 << _NONCE_BITS - _POSITION_BITS) - 1) + 1 << _POSITION_BITS | position


@dataclass(slots=True)
class TargetHistory:
    """The last probes of one target by nonce, and the last exchanges that its peer reported."""

    sequences: dict[int, int] = field(default_factory=dict)  # by nonce, of the last probe of each position
    one_way: OneWay = field(default_factory=OneWay)
    last_reported: int = 0  # nonce

    @property
    def is_reported_lately(self) -> bool:
        """Whether the peer's last report is about one of the last PROBES_PER_TARGET probes."""
        return self.last_reported in self.sequences

    def add(self, nonce: int, sequence: int) -> None:
        """Enter a probe that is about to be sent."""
        position = nonce % layout.PROBES_PER_TARGET
        for old in [old for old in self.sequences if old % layout.PROBES_PER_TARGET == position]:
            del self.sequences[old]
        self.sequences[nonce] = sequence


def where_lost(
    sequence: int,
    transmitted_ns: int,
    report: ReceptionReport | None,
    report_sequence: int | None,
    longest_rtt_ns: int | None,
) -> Result:
    """Return where a probe was lost that left this host and had no reply, as far as the peer's report tells.

    A report about a later probe says whether the peer received this one. A report about earlier probes only says
    that it did not if it came so late that this probe must have arrived before: later than any RTT took.
    """
    if report is None or report_sequence is None:
        return Result.LOST_NETWORK
    ahead = sequence - report_sequence
    if ahead == 0:
        return Result.LOST_RETURN
    if -_REPORTED_AROUND <= ahead < 0:
        return Result.LOST_RETURN if report.before >> (-ahead - 1) & 1 else Result.LOST_FORWARD
    if 0 < ahead <= _REPORTED_AROUND:
        from_this_one = report.after >> (ahead - 1)
        if from_this_one:
            return Result.LOST_RETURN if from_this_one & 1 else Result.LOST_FORWARD
    if ahead > 0 and longest_rtt_ns is not None and report.at_ns - transmitted_ns > longest_rtt_ns + MARGIN_NS:
        return Result.LOST_FORWARD
    return Result.LOST_NETWORK


class FeedbackChannel:
    """Exchanges reports with the agents of all peers. A target is named by its index."""

    def __init__(self, sessions: Sessions, table: ProbeTable, clock: WallClock) -> None:
        """`clock` gives this node's wall clock; tests set it wrong."""
        self.sessions = sessions
        self._table = table
        self._clock = clock
        self._clock.poll()
        sessions.set_wall_offset(clock.offset_ns)

    @classmethod
    def of(cls, source: Source, clock: WallClock | None = None) -> FeedbackChannel | None:
        """Return the channel of `source`, None if the source does not see the peers' requests."""
        return cls(source.sessions, source.table, clock or WallClock()) if source.sessions else None

    def set_peer_index(self, targets: Mapping[bytes, int]) -> int:
        """Serve these mapped addresses; return how many of them did not fit into the kernel program's hash table."""
        return self.sessions.set_peer_index(targets)

    @property
    def wall_offset_ns(self) -> int:
        """How far the wall clock is ahead of CLOCK_MONOTONIC."""
        return self._clock.offset_ns

    def next_feedback(self, target: int) -> bytes:
        """Return the feedback for the next request to `target`."""
        before = self._clock.offset_ns
        self._clock.poll()
        if self._clock.offset_ns != before:
            self.sessions.set_wall_offset(self._clock.offset_ns)
        return self.sessions.feedback(target, self._clock.offset_ns)

    def read_report(self, target: int, history: TargetHistory) -> None:
        """Enter the peer's last report into `history`; call this before a position of the target is used again."""
        report = self.sessions.peer_report(target)
        if report is None or report.nonce == history.last_reported:
            return
        history.last_reported = report.nonce
        stamps = self._table.stamps(target * layout.PROBES_PER_TARGET + report.nonce % layout.PROBES_PER_TARGET)
        if stamps.nonce != report.nonce:
            return
        offset = self._clock.offset_ns
        history.one_way.add(
            Exchange(
                stamps.transmitted_ns + offset,
                report.peer_received_ns,
                report.peer_received_ns + report.dwell_ns,
                stamps.received_ns + offset,
            )
        )

    def where_lost(
        self, target: int, history: TargetHistory, sequence: int, transmitted_ns: int, longest_rtt_ns: int | None
    ) -> Result:
        """Return where a probe of `target` was lost on the network."""
        report = self.sessions.reception_report(target)
        report_sequence = history.sequences.get(report.nonce) if report else None
        return where_lost(sequence, transmitted_ns, report, report_sequence, longest_rtt_ns)
