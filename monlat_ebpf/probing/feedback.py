"""What this node's agent reports to its peers in its requests, and what it learns from their reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.echo import Feedback
from monlat_ebpf.abi.probes import ProbeTable
from monlat_ebpf.abi.sessions import ReceptionReport, Sessions
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import Result
from monlat_ebpf.probing.nonces import new_stream
from monlat_ebpf.probing.one_way import Exchange, OneWay
from monlat_ebpf.sources import Source

MARGIN_NS: Final = 200_000_000
"""Covers the peer's scheduling and queueing delay between building a report and sending it.

A CPU limit of a few percent holds a process for 100 ms. A report that comes later than this after a probe's deadline,
and does not know the probe, means that the peer did not receive it in time to answer it in time.
"""

HOLD_INTERVALS: Final = 3
"""How long after its deadline a lost probe waits for the report that tells where.

Two reports of the peer come in that time after MARGIN_NS, whatever its phase: at a loss of 5 % one of them arrives in
399 of 400 cases. By the deadline itself, a timeout of one interval leaves a single report: 19 of 20 cases at most.
"""

_new: Final = tuple.__new__
"""Makes a NamedTuple in half of the time."""

_ALIVE_PROBES: Final = 4
"""A stream of the peer is silent if it sent nothing since our probe that many before."""


@dataclass(slots=True)
class TargetHistory:
    """The last exchanges with one target that its peer reported."""

    stream: int = field(default_factory=new_stream)
    nothing: Feedback = field(init=False)
    """What to say to a peer that sends no requests."""
    one_way: OneWay = field(default_factory=OneWay)
    last_reported: int = 0  # nonce
    last_named: tuple[int, int] = (0, 0)  # nonce and sequence of the probe that the last report named

    def __post_init__(self) -> None:
        self.nothing = Feedback(stream=self.stream)


def where_lost(sequence: int, deadline_ns: int, report: ReceptionReport, named: int) -> Result | None:
    """Return where a probe was lost that left this host, None if the next report may tell. Pure.

    `named` is the sequence of the probe that the report names. Its bits say which probes around that one the peer
    received. If it knows only earlier ones, it must come after the deadline, so that the peer had time to receive this
    one and to answer it in time.
    """
    ahead = sequence - named
    if ahead == 0:
        return Result.LOST_RETURN
    bits = report.after >> (ahead - 1) if ahead > 0 else report.before >> (-ahead - 1)
    if bits & 1:
        return Result.LOST_RETURN
    if ahead < 0:
        return Result.LOST_FORWARD if -ahead <= report.known else Result.LOST_NETWORK
    return Result.LOST_FORWARD if bits or report.at_ns > deadline_ns + MARGIN_NS else None


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

    def poll_clock(self) -> None:
        """Follow the wall clock; call this before feedback is sent or read."""
        before = self._clock.offset_ns
        self._clock.poll()
        if self._clock.offset_ns != before:
            self.sessions.set_wall_offset(self._clock.offset_ns)

    def exchange(self, target: int, history: TargetHistory, sequence: int) -> Feedback:
        """Enter the peer's last report into `history`; return the feedback for the next request, of that sequence.

        Call this before a position of the target is used again.
        """
        first, second, candidate, reported = self.sessions.nonces(target)
        if reported != history.last_reported:
            self._read_report(target, history, reported)
        if not (first or second or candidate):  # no request of the peer was served
            return history.nothing
        alive_since_ns = 0
        if sequence >= _ALIVE_PROBES:
            alive_since_ns = self._table.sent_ns(_slot(target, sequence - _ALIVE_PROBES))
        feedback = self.sessions.feedback(target, self._clock.offset_ns, alive_since_ns, sequence)
        return _new(Feedback, (feedback.report, feedback.known, history.stream))

    def read_report(self, target: int, history: TargetHistory) -> None:
        """Enter the peer's last report into `history`."""
        reported = self.sessions.reported_nonce(target)
        if reported != history.last_reported:
            self._read_report(target, history, reported)

    def _read_report(self, target: int, history: TargetHistory, nonce: int) -> None:
        report = self.sessions.peer_report_of(target, nonce)
        if report is None:
            return
        history.last_reported = nonce
        stamps = self._table.stamps(_slot(target, nonce))
        if stamps.nonce != nonce:
            return
        offset = self._clock.offset_ns
        received = report.peer_received_ns
        history.one_way.add(
            Exchange(stamps.transmitted_ns + offset, received, received + report.dwell_ns, stamps.received_ns + offset)
        )

    def is_reported_lately(self, target: int, history: TargetHistory) -> bool:
        """Return whether the peer's last report is about one of the last PROBES_PER_TARGET probes."""
        return history.last_reported != 0 and self._is_in_table(target, history.last_reported)

    def where_lost(
        self, target: int, history: TargetHistory, sequence: int, deadline_ns: int, newest: int
    ) -> Result | None:
        """Return where a probe of `target` was lost on the network, None if the peer's next report may tell.

        `newest` is the sequence of the last probe that was sent to `target`.
        """
        report = self.sessions.reception_report(target)
        named = self._sequence_of(target, history, report.nonce, newest) if report else None
        if report is None or named is None:
            return Result.LOST_NETWORK
        return where_lost(sequence, deadline_ns, report, named)

    def _sequence_of(self, target: int, history: TargetHistory, nonce: int, newest: int) -> int | None:
        """Return the sequence of a probe that the peer named, None if it is not known any more.

        While no probe reaches the peer, it goes on naming the same one, however many were sent since.
        """
        if self._is_in_table(target, nonce):
            history.last_named = (nonce, newest - (newest - nonce) % layout.PROBES_PER_TARGET)
        return history.last_named[1] if history.last_named[0] == nonce else None

    def _is_in_table(self, target: int, nonce: int) -> bool:
        return self._table.nonce(_slot(target, nonce)) == nonce


def _slot(target: int, nonce_or_sequence: int) -> int:
    """Return the slot of a probe; the lowest bits of its nonce are those of its sequence."""
    return target * layout.PROBES_PER_TARGET + nonce_or_sequence % layout.PROBES_PER_TARGET
