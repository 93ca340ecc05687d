"""The counts of one target: every probe that was sent ends in exactly one result, or is in flight.

`sent == sum(results) + in flight` holds after every method.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.echo import error_name
from monlat_ebpf.abi.histogram import EDGES_NS, count_into
from monlat_ebpf.abi.probes import Completion
from monlat_ebpf.model import Family, Histogram, Result
from monlat_ebpf.probing.reply_stamps import ReplyStamps

RESOLVE_DELAY_NS: Final = 2 * layout.CONSTANTS["DELIVERY_GRACE"]
"""From a probe's deadline until it is resolved: its reply may be delivered later than its driver stamped it."""

NOT_DELIVERED: Final = "not_delivered"
"""The error of a probe whose reply reached a driver in time and was dropped on this host."""

NO_NEIGHBOUR: Final = "no_neighbour"
"""The error of a probe that waited on this host, because nobody has the address of the next hop."""

_HOST_UNREACHABLE: Final = {Family.IPV4: (3, 1), Family.IPV6: (1, 3)}
"""Type and code of the ICMP error that the kernel sends to itself when nobody has that address."""

_new: Final = tuple.__new__
"""Makes a NamedTuple in half of the time."""

_RESULTS: Final = tuple(Result)
_INDEX: Final = {result: index for index, result in enumerate(_RESULTS)}
_REPLY: Final = _INDEX[Result.REPLY]
_RESULT_REPLY: Final = Result.REPLY  # a look-up by an enum's member is slow
_NO_FAILURES: Final = (0,) * len(_RESULTS)
"""How many probes ended with each result but REPLY, of a target whose probes were all answered. Most share it."""


class Outcome(NamedTuple):
    """How a probe ended. Times in nanoseconds; each is None where it is not known.

    `error` names the ICMP error, the errno or the other cause that ended it, as `monlat_probe_errors_total` does; ""
    for none. `reply_device` delivered the reply, and `stamped_by` took its stamp (STAMPED_BY_; 0 is not known).
    """

    sequence: int
    result: Result
    rtt_ns: int | None = None
    send_delay_ns: int | None = None
    device: int = 0
    error: str = ""
    reply_device: int = 0
    stamped_by: int = 0


class InFlight(NamedTuple):
    """A probe without a result yet."""

    sequence: int
    sent_ns: int
    deadline_ns: int


def outcome_of(probe: InFlight, completion: Completion, family: Family, *, expired: bool) -> Outcome | None:
    """Return how `probe` ended, None while that is open.

    `expired` says that its deadline has passed and that the source has written all that it knew by then. Until
    then a probe without a transmit stamp stays open: its reply may be written before that stamp.
    An error for a probe that never reached a driver comes from this host, so the probe was lost here, unless it says
    that nobody has the next hop's address. A probe was lost here too if the driver got it only after the deadline, or
    if the stack did not deliver the reply that it got.
    """
    transmitted = completion.transmitted_ns
    if not transmitted and not expired:
        return None
    send_delay = transmitted - probe.sent_ns if transmitted else None
    if completion.error_type:
        error = error_name(family, completion.error_type, completion.error_code)
        result = Result.UNREACHABLE if transmitted else Result.LOST_HOST
        if not transmitted and (completion.error_type, completion.error_code) == _HOST_UNREACHABLE[family]:
            result, error = Result.UNREACHABLE, NO_NEIGHBOUR
        return Outcome(probe.sequence, result, None, send_delay, completion.device, error)
    if 0 < completion.received_ns <= probe.deadline_ns:
        rtt = completion.received_ns - transmitted if 0 < transmitted < completion.received_ns else None
        stamped = (completion.reply_device, completion.stamped_by)
        return Outcome(probe.sequence, Result.REPLY, rtt, send_delay, completion.device, "", *stamped)
    if not expired:
        return None
    if completion.received_ns == 0 and 0 < completion.own_stamp_ns <= probe.deadline_ns:
        return Outcome(probe.sequence, Result.LOST_HOST, None, send_delay, completion.device, NOT_DELIVERED)
    result = Result.LOST_NETWORK if 0 < transmitted <= probe.deadline_ns else Result.LOST_HOST
    return Outcome(probe.sequence, result, None, send_delay, completion.device)


class Ledger:
    """Counts of one target, and its probes in flight.

    There are `positions` for the last probes. The probe with sequence n has position n modulo `positions`, and must
    have ended before the next one takes it.
    """

    __slots__ = (
        "_ended",
        "_failures",
        "_newest_ended",
        "last_rtt_ns",
        "max_rtt_ns",
        "min_rtt_ns",
        "newest_result",
        "positions",
        "sent",
        "unresolved",
    )

    def __init__(self, positions: int = layout.PROBES_PER_TARGET) -> None:
        self.positions: Final = positions
        self.sent = 0
        self.last_rtt_ns: int | None = None
        self.min_rtt_ns: int | None = None
        self.max_rtt_ns: int | None = None
        self.newest_result: Result | None = None  # of the newest probe that has ended, or is surely lost
        self.unresolved: Final[dict[int, InFlight]] = {}  # the probes in flight by sequence, oldest first
        self._failures = _NO_FAILURES
        self._ended: bytearray | None = None  # index into _RESULTS, by position; None: all ended with a reply
        self._newest_ended = -1

    @property
    def counts(self) -> tuple[int, ...]:
        """How many probes ended with each result, in the order of Result."""
        counts = list(self._failures)
        counts[_REPLY] = self.sent - len(self.unresolved) - sum(counts)
        return tuple(counts)

    @property
    def results(self) -> Mapping[Result, int]:
        """How many probes ended with each result."""
        return dict(zip(_RESULTS, self.counts, strict=True))

    @property
    def in_flight(self) -> int:
        """Probes without a result yet."""
        return len(self.unresolved)

    @property
    def oldest_open(self) -> InFlight | None:
        """The oldest probe in flight."""
        return next(iter(self.unresolved.values()), None)

    @property
    def overdue(self) -> InFlight | None:
        """The probe in flight whose position the next one takes."""
        return self.unresolved.get(self.sent - self.positions)

    def open(self, sent_ns: int, deadline_ns: int) -> InFlight:
        """Enter the next probe and return it. Raises ValueError while its position holds a probe in flight."""
        sequence = self.sent
        if sequence - self.positions in self.unresolved:
            raise ValueError(f"position {sequence % self.positions} still holds a probe in flight")
        probe = self.unresolved[sequence] = _new(InFlight, (sequence, sent_ns, deadline_ns))
        self.sent = sequence + 1
        return probe

    def last_ended(self) -> Iterator[tuple[int, Result]]:
        """Yield sequence and result of those of the last `positions` probes that ended, oldest first."""
        for sequence in range(max(self.sent - self.positions, 0), self.sent):
            if sequence not in self.unresolved:
                index = _REPLY if self._ended is None else self._ended[sequence % self.positions]
                yield sequence, _RESULTS[index]

    def expire(self, sequence: int) -> None:
        """Take away the last RTT if no newer probe has ended: the probe is lost. It stays in flight."""
        if sequence > self._newest_ended:
            self._newest_ended = sequence
            self.newest_result = Result.LOST_NETWORK
            self.last_rtt_ns = None

    def add_reply(self, sequence: int, rtt_ns: int) -> None:
        """Give the probe of that sequence the result REPLY. Raises KeyError if it is not in flight."""
        del self.unresolved[sequence]
        self._end_with_reply(sequence, rtt_ns)

    def add_answered(self, rtt_ns: int) -> None:
        """Enter the next probe, which has its reply already: this is `open` and `add_reply` for less."""
        sequence = self.sent
        if self.unresolved and sequence - self.positions in self.unresolved:
            raise ValueError(f"position {sequence % self.positions} still holds a probe in flight")
        self.sent = sequence + 1
        self._end_with_reply(sequence, rtt_ns)

    def _end_with_reply(self, sequence: int, rtt_ns: int) -> None:
        if self._ended is not None:
            self._ended[sequence % self.positions] = _REPLY
        if sequence > self._newest_ended:
            self._newest_ended = sequence
            self.newest_result = _RESULT_REPLY
            self.last_rtt_ns = rtt_ns
        if self.min_rtt_ns is None or rtt_ns < self.min_rtt_ns:
            self.min_rtt_ns = rtt_ns
        if self.max_rtt_ns is None or rtt_ns > self.max_rtt_ns:
            self.max_rtt_ns = rtt_ns

    def resolve(self, outcome: Outcome) -> None:
        """Give the probe of that sequence its result. Raises KeyError if it is not in flight."""
        if outcome.rtt_ns is not None:
            self.add_reply(outcome.sequence, outcome.rtt_ns)
            return
        del self.unresolved[outcome.sequence]
        index = _INDEX[outcome.result]
        if index != _REPLY:
            failures = list(self._failures)
            failures[index] += 1
            self._failures = tuple(failures)
            if self._ended is None:
                self._ended = bytearray([_REPLY]) * self.positions
        if self._ended is not None:
            self._ended[outcome.sequence % self.positions] = index
        if outcome.sequence > self._newest_ended:
            self._newest_ended = outcome.sequence
            self.newest_result = outcome.result
            if index != _REPLY:  # a reply without an RTT says nothing new
                self.last_rtt_ns = None


class Totals:
    """What is counted of the probes to all targets together."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()  # by ICMP error, errno name, or name of another cause
        self.skipped = 0  # grid points of the schedule without a probe
        self.reply_stamps = ReplyStamps()
        self.latest_send_delays: list[int] = []
        """Nanoseconds of the last probes. `sum_up` brings them into the histogram."""
        self._send_delays = [0] * layout.BUCKETS
        self._send_delay_sum_ns = 0

    @property
    def send_delay(self) -> Histogram:
        """The send delay of all probes that reached a driver."""
        self.sum_up()
        return Histogram(tuple(self._send_delays), self._send_delay_sum_ns)

    def add(self, outcome: Outcome) -> None:
        """Count a probe that ended."""
        if outcome.error:
            self.errors[outcome.error] += 1
        if outcome.stamped_by:
            self.reply_stamps.latest.append((outcome.reply_device, outcome.stamped_by))
        if outcome.send_delay_ns is not None:
            self.latest_send_delays.append(outcome.send_delay_ns)

    def sum_up(self) -> None:
        """Count what the last probes brought; for many at once this takes a third of the time. Call it once a tick."""
        self.reply_stamps.sum_up()
        count_into(self._send_delays, EDGES_NS, self.latest_send_delays)
        self._send_delay_sum_ns += sum(self.latest_send_delays)
        self.latest_send_delays.clear()
