"""Sends probes to one address at an even pace and yields what becomes of them."""

from __future__ import annotations

import errno
import secrets
import select
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.abi.probes import TableSize, mapped
from monlat_ebpf.host.wake_event import WakeEvent
from monlat_ebpf.model import Address, Family, Result
from monlat_ebpf.ping.events import Ended, Event, Pending
from monlat_ebpf.ping.user_space import SEQUENCES, Answer, Sent
from monlat_ebpf.probing.ledger import InFlight, Outcome, outcome_of
from monlat_ebpf.probing.prober import RESOLVE_DELAY_NS
from monlat_ebpf.sources import Source

_KERNEL_TICK_NS: Final = 2_000_000
"""A source that stamps in a thread of its own may be a little behind user space."""


class Echo(Protocol):
    """The view of user space: what EchoSocket is."""

    def fileno(self) -> int:
        """Return the descriptor, readable when `receive` has something to give."""

    def send(self, slot: int, sequence: int, nonce: int) -> Sent:
        """Send a probe. Raises OSError as the system call does."""

    def receive(self) -> Iterable[Answer]:
        """Return the answers that are there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to ping. `count` is None for no end. Seconds."""

    count: int | None
    interval_seconds: float
    timeout_seconds: float

    def table_size(self) -> TableSize:
        """Return room for all probes in flight, and for as many more: a late reply still finds its place."""
        places = 2 * (1 + int((self.timeout_seconds + 1) / self.interval_seconds))
        return TableSize(-(-places // layout.PROBES_PER_TARGET))


class Pinger:
    """Probes one address through `echo`, with `source` taking the kernel's stamps."""

    def __init__(self, source: Source, echo: Echo, address: Address, plan: Plan, stop: WakeEvent) -> None:
        self._source = source
        self._echo = echo
        self._family = Family.of(address)
        self._mapped = mapped(address)
        self._interval_ns = round(plan.interval_seconds * NANOSECONDS_PER_SECOND)
        self._timeout_ns = round(plan.timeout_seconds * NANOSECONDS_PER_SECOND)
        self._count = plan.count
        self._stop = stop
        self._next_send_ns: int | None = time.monotonic_ns()
        self._places: list[Pending | None] = [None] * source.table.size.slots
        self._by_sequence: dict[int, Pending] = {}  # by the 16 bits that ICMP has
        self._open: dict[int, Pending] = {}
        self.sent = 0

    @property
    def in_flight(self) -> int:
        """Probes without a result."""
        return len(self._open)

    def late_and_duplicates(self) -> tuple[int, int]:
        """Return the kernel's counts, of all probes."""
        table = self._source.table
        each = [table.late_and_duplicates(target) for target in range(table.size.targets)]
        return sum(late for late, _ in each), sum(duplicates for _, duplicates in each)

    def run(self) -> Iterator[Event]:
        """Yield events until the last probe has ended, or until `stop` is set."""
        while True:
            now = time.monotonic_ns()
            if self._next_send_ns is not None and now >= self._next_send_ns:
                yield from self._send()
                self._plan_next_send()
            yield from self._settle(time.monotonic_ns())
            if self._next_send_ns is None and not self._open:
                return
            awaited: list[Echo | WakeEvent] = [self._echo, self._stop]
            readable, _, _ = select.select(awaited, [], [], self._wait_seconds())
            if self._echo in readable:
                for answer in self._echo.receive():
                    yield from self._take(answer)
            if self._stop in readable:
                yield from self._settle(time.monotonic_ns())
                return

    def _plan_next_send(self) -> None:
        if self._next_send_ns is None or self.sent == self._count:
            self._next_send_ns = None
            return
        self._next_send_ns = max(self._next_send_ns + self._interval_ns, time.monotonic_ns())  # no burst to catch up

    def _wait_seconds(self) -> float:
        now = time.monotonic_ns()
        moments = [] if self._next_send_ns is None else [self._next_send_ns]
        for pending in self._open.values():
            moments.append(pending.probe.deadline_ns + RESOLVE_DELAY_NS)
            if pending.is_answered:
                moments.append(now + _KERNEL_TICK_NS)
        return max(min(moments) - now, 0) / NANOSECONDS_PER_SECOND

    def _send(self) -> Iterator[Event]:
        sequence = self.sent
        slot = sequence % len(self._places)
        self._forget(self._places[slot])
        nonce = secrets.randbits(64) or 1
        now = time.monotonic_ns()
        deadline_ns = now + self._timeout_ns
        self._source.table.arm(slot, nonce=nonce, sent_ns=now, deadline_ns=deadline_ns, address=self._mapped)
        self.sent += 1
        try:
            sent = self._echo.send(slot, sequence, nonce)
        except OSError as error:
            number = error.errno or 0
            yield Ended(sequence, Result.SEND_ERROR, error=errno.errorcode.get(number, f"errno_{number}"))
            return
        pending = Pending(slot, InFlight(sequence, sent.monotonic_ns, deadline_ns), sent.time)
        self._places[slot] = self._by_sequence[sequence % SEQUENCES] = self._open[sequence] = pending

    def _forget(self, pending: Pending | None) -> None:
        if pending is not None:
            self._by_sequence.pop(pending.probe.sequence % SEQUENCES, None)

    def _take(self, answer: Answer) -> Iterator[Event]:
        pending = self._by_sequence.get(answer.sequence)
        if pending is None:
            return
        if pending.result is None:
            event: Event | None = pending.note(answer)
        else:
            event = pending.after_its_end(answer, self._source.table.completion(pending.slot))
        if event is not None:
            yield event

    def _settle(self, now_ns: int) -> Iterator[Event]:
        for pending in list(self._open.values()):
            closed = now_ns >= pending.probe.deadline_ns + RESOLVE_DELAY_NS
            if not closed and not pending.is_answered:
                continue  # user space will see it too, or the deadline comes
            outcome = outcome_of(pending.probe, self._source.table.completion(pending.slot), closed=closed)
            if outcome is not None:
                yield self._end(pending, outcome)

    def _end(self, pending: Pending, outcome: Outcome) -> Ended:
        del self._open[pending.probe.sequence]
        return pending.ended(outcome, self._family)
