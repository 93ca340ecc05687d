"""The account of one target's probes: every probe that was sent ends in exactly one result, or is in flight.

`sent == sum(results) + in flight` holds after every method (DESIGN section 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.probes import Completion
from monlat_ebpf.model import Result

_RESULTS: Final = tuple(Result)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a probe ended. Times in nanoseconds; each is None where it is not known.

    `error` is the ICMP error that came for it, as (type, code).
    """

    sequence: int
    result: Result
    rtt_ns: int | None = None
    send_delay_ns: int | None = None
    device: int = 0
    error: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class InFlight:
    """A probe whose result is open."""

    sequence: int
    sent_ns: int
    deadline_ns: int


def outcome_of(probe: InFlight, completion: Completion, *, closed: bool) -> Outcome | None:
    """Return how `probe` ended, None while that is open.

    `closed` says that its deadline has passed and the source has written all that it knows by then. Until
    then a probe without a transmit stamp stays open: what came for it may be written before the stamp is.
    An error for a probe that never reached a driver comes from this host itself: the loss is the host's, and so it
    is when the driver got the probe only past its deadline.
    """
    transmitted = completion.transmitted_ns
    if not transmitted and not closed:
        return None
    send_delay = transmitted - probe.sent_ns if transmitted else None
    if completion.error_type:
        result = Result.UNREACHABLE if transmitted else Result.LOST_HOST
        error = (completion.error_type, completion.error_code)
        return Outcome(probe.sequence, result, None, send_delay, completion.device, error)
    if 0 < completion.received_ns <= probe.deadline_ns:
        rtt = completion.received_ns - transmitted if transmitted else None
        return Outcome(probe.sequence, Result.REPLY, rtt, send_delay, completion.device)
    if not closed:
        return None
    result = Result.LOST_NETWORK if 0 < transmitted <= probe.deadline_ns else Result.LOST_HOST
    return Outcome(probe.sequence, result, None, send_delay, completion.device)


@dataclass(slots=True)
class Ledger:
    """Counts of one target, and its probes in flight by place (0 to PROBES_PER_TARGET - 1)."""

    sent: int = 0
    results: dict[Result, int] = field(default_factory=lambda: dict.fromkeys(Result, 0))
    last_rtt_ns: int | None = None
    min_rtt_ns: int | None = None
    max_rtt_ns: int | None = None
    _open: dict[int, InFlight] = field(default_factory=dict)
    _ended: bytearray = field(default_factory=lambda: bytearray(layout.PROBES_PER_TARGET))  # of _RESULTS, by place
    _newest_decided: int = -1

    @property
    def in_flight(self) -> int:
        """Probes without a result yet."""
        return len(self._open)

    def next_place(self) -> int:
        """Return the place for the next probe."""
        return self.sent % layout.PROBES_PER_TARGET

    def open(self, place: int, sent_ns: int, deadline_ns: int) -> int:
        """Enter a probe that is about to be sent; return its sequence. Its place must have been decided."""
        if place in self._open:
            raise ValueError(f"place {place} still holds a probe in flight")
        sequence = self.sent
        self._open[place] = InFlight(sequence, sent_ns, deadline_ns)
        self.sent += 1
        return sequence

    def open_probes(self) -> Iterator[tuple[int, InFlight]]:
        """Yield the probes in flight with their places, oldest first; they may be decided meanwhile."""
        yield from list(self._open.items())

    def probe_at(self, place: int) -> InFlight | None:
        """Return the probe in flight in `place`."""
        return self._open.get(place)

    def last_ended(self) -> Iterator[tuple[int, Result]]:
        """Yield sequence and result of those of the last PROBES_PER_TARGET probes that ended, oldest first."""
        for sequence in range(max(self.sent - layout.PROBES_PER_TARGET, 0), self.sent):
            place = sequence % layout.PROBES_PER_TARGET
            if place not in self._open:
                yield sequence, _RESULTS[self._ended[place]]

    def decide(self, place: int, outcome: Outcome) -> None:
        """Close the probe in `place`."""
        del self._open[place]
        self.results[outcome.result] += 1
        self._ended[place] = _RESULTS.index(outcome.result)
        if outcome.rtt_ns is not None:
            rtt = outcome.rtt_ns
            self.min_rtt_ns = rtt if self.min_rtt_ns is None else min(self.min_rtt_ns, rtt)
            self.max_rtt_ns = rtt if self.max_rtt_ns is None else max(self.max_rtt_ns, rtt)
        if outcome.sequence > self._newest_decided:
            self._newest_decided = outcome.sequence
            self.last_rtt_ns = outcome.rtt_ns
