"""Probes one address at an even pace and yields what becomes of each probe."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.host.wake_event import WakeEvent
from monlat_ebpf.model import Address, Peer
from monlat_ebpf.ping.events import Event, UserView
from monlat_ebpf.ping.user_space import SEQUENCES, Answer
from monlat_ebpf.probing.ledger import Outcome
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.probing.targets import Target
from monlat_ebpf.sources import Source

_RETRY_SECONDS: Final = 0.002
"""User space may have a reply before the source has noted its stamps: look again after this time."""


class Reader(Protocol):
    """The view of user space: what EchoReader is."""

    def fileno(self) -> int:
        """Return the descriptor, readable when `receive` has something to give."""

    def receive(self) -> Iterable[Answer]:
        """Return the answers that have arrived."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to ping. `count` is None for no end. Seconds."""

    count: int | None
    interval_seconds: float
    timeout_seconds: float

    def table_size(self) -> TableSize:
        """Return room for all probes in flight, and for as many more, so that a late reply still finds its slot."""
        slots = 2 * (1 + int((self.timeout_seconds + 1) / self.interval_seconds))
        return TableSize(-(-slots // layout.PROBES_PER_TARGET))


class Pinger:
    """A Prober with one target, in a thread of its own; beside it, `reader` shows what user space gets."""

    def __init__(self, source: Source, reader: Reader, address: Address, plan: Plan) -> None:
        self._table = source.table
        self._reader = reader
        self._peer = Peer(str(address), (address,))
        self._outcomes: deque[Outcome] = deque()  # from both threads
        self._wake = WakeEvent()
        self._views: dict[int, UserView] = {}  # by sequence
        self._answered: set[int] = set()  # sequences of probes in flight that user space has an answer to
        source.reserve(source.table.size.targets)
        self._prober = Prober(
            source,
            interval_seconds=plan.interval_seconds,
            timeout_seconds=plan.timeout_seconds,
            max_peers=1,
            count=plan.count,
            positions=source.table.size.slots,
            on_outcome=self._on_outcome,
        )

    @property
    def sent(self) -> int:
        """Probes sent."""
        return self._target().ledger.sent

    @property
    def in_flight(self) -> int:
        """Probes without a result."""
        return self._target().ledger.in_flight

    def late_and_duplicates(self) -> tuple[int, int]:
        """Return the kernel's counts, of all probes."""
        each = [self._table.late_and_duplicates(target) for target in range(self._table.size.targets)]
        return sum(late for late, _ in each), sum(duplicates for _, duplicates in each)

    def stop(self) -> None:
        """Make `run` end; safe in a signal handler."""
        self._prober.stop()

    def run(self) -> Iterator[Event]:
        """Yield events until the last probe has ended, or until `stop`."""
        self._prober.set_peers([self._peer])
        with ThreadPoolExecutor(1, "prober") as executor:
            running = executor.submit(self._prober.run)
            running.add_done_callback(lambda _: self._wake.set())
            try:
                while not running.done():
                    timeout = _RETRY_SECONDS if self._answered else None
                    select.select([self._reader.fileno(), self._wake.fileno()], [], [], timeout)
                    self._wake.clear()
                    yield from self._events()
            finally:
                self._prober.stop()
            running.result()  # raises what ended the thread
        yield from self._events()

    def _target(self) -> Target:
        """Return the one target. This takes the prober's lock, so a probe that is being sent now is counted."""
        [target] = self._prober.targets()
        return target

    def _on_outcome(self, _target: Target, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._wake.set()

    def _events(self) -> Iterator[Event]:
        yield from self._ended()
        for answer in self._reader.receive():
            event = self._add(answer)
            if event is not None:
                yield event
        # only now: a probe that the kernel resolves before user space has the reply would lack the user space RTT
        for sequence in sorted(self._answered):
            self._prober.resolve(self._target(), sequence)
        yield from self._ended()

    def _add(self, answer: Answer) -> Event | None:
        if answer.identifier != self._prober.identifier:
            return None
        target = self._target()
        newest = target.ledger.sent - 1
        sequence = newest - (newest - answer.sequence) % SEQUENCES
        if sequence < 0:
            return None
        stamps = self._table.stamps(target.slot(sequence))
        if sequence < self.sent - target.ledger.positions:  # counted after the stamps were read
            return None  # its slot holds another probe
        view = self._view(sequence)
        event = view.add(answer, stamps)
        if view.is_answered and view.result is None:
            self._answered.add(sequence)
        return event

    def _ended(self) -> Iterator[Event]:
        while self._outcomes:
            outcome = self._outcomes.popleft()
            self._views.pop(outcome.sequence - self._table.size.slots, None)
            self._answered.discard(outcome.sequence)
            yield self._view(outcome.sequence).end(outcome)

    def _view(self, sequence: int) -> UserView:
        return self._views.setdefault(sequence, UserView(sequence))
