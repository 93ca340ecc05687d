"""Sends the probes and settles them: the one thread that writes to the source."""

from __future__ import annotations

import errno
import logging
import secrets
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, Protocol

from monlat_ebpf.abi import echo, layout
from monlat_ebpf.abi.echo import error_name
from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND, bucket_of
from monlat_ebpf.abi.probes import mapped
from monlat_ebpf.host.wake_event import WakeEvent
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import Address, Family, Histogram, PairSnapshot, Peer, RecentProbe, Result
from monlat_ebpf.probing.feedback import FeedbackChannel, Memory, new_nonce
from monlat_ebpf.probing.index_pool import IndexPool
from monlat_ebpf.probing.ledger import InFlight, Ledger, Outcome, outcome_of
from monlat_ebpf.probing.one_way import OneWay
from monlat_ebpf.probing.recent import recent_probe
from monlat_ebpf.probing.schedule import Schedule
from monlat_ebpf.probing.targets import TargetKey, Wanted, changes, phase
from monlat_ebpf.sources import Source

_LOG = logging.getLogger(__name__)

IDLE_TURN_SECONDS: Final = 5.0
"""Without peers the loop turns all the same, so that /healthz can tell idle from dead."""

RESOLVE_DELAY_NS: Final = 10_000_000
"""Between a deadline and its reading: a processor that had the reply in hand may have been interrupted."""

_UNREPORTED: Final = OneWay()
"""Of a peer that tells nothing."""


class Observer(Protocol):
    """Something that adds up samples in seconds, as prometheus_client's histogram does."""

    def observe(self, amount: float) -> None:
        """Add one sample."""


@dataclass(slots=True, eq=False)
class Target:
    """One address of one peer, while it is probed."""

    key: TargetKey
    index: int
    address: Address
    zone: str
    order: int
    mapped: bytes
    ledger: Ledger = field(default_factory=Ledger)
    memory: Memory = field(default_factory=Memory)
    device: int = 0
    gone: bool = False


class Prober:
    """Probes each target once an interval and keeps its account."""

    def __init__(
        self,
        source: Source,
        *,
        node: str,
        interval_seconds: float,
        timeout_seconds: float,
        max_peers: int,
        send_delay: Observer,
        schedule_lag: Observer,
        wall_clock: WallClock | None = None,
        on_outcome: Callable[[Target, Outcome], None] = lambda _target, _outcome: None,
    ) -> None:
        """`on_outcome` hears of every decided probe, under the prober's lock: it must be quick."""
        self._source = source
        self._node = node
        self._interval_ns = int(interval_seconds * NANOSECONDS_PER_SECOND)
        self._timeout_ns = int(timeout_seconds * NANOSECONDS_PER_SECOND)
        self._max_peers = max_peers
        self._send_delay = send_delay
        self._schedule_lag = schedule_lag
        self._on_outcome = on_outcome
        sessions = source.sessions
        self._feedback = FeedbackChannel(sessions, source.table, wall_clock or WallClock()) if sessions else None
        self._identifier = secrets.randbelow(1 << 16)
        self._lock = threading.Lock()
        self._wake = WakeEvent()
        self._stopping = False
        self.last_turn_ns = time.monotonic_ns()
        self._targets: dict[TargetKey, Target] = {}
        self._free = IndexPool(source.table.size.targets)
        self._schedule: Schedule[Target] = Schedule(self._interval_ns, Random())
        self._to_settle: deque[tuple[int, Target, int]] = deque()  # time, target, sequence
        self._errors: Counter[str] = Counter()
        self._send_delays = [0] * layout.BUCKETS
        self._send_delay_sum_ns = 0
        self._refused: tuple[str, ...] = ()
        self._logged: set[tuple[TargetKey, int]] = set()

    # from any thread

    def set_peers(self, peers: Sequence[Peer]) -> None:
        """Probe these peers from now on; what is known of those that stay is kept."""
        with self._lock:
            change = changes(self._targets, peers, self._max_peers)
            for key in change.removed:
                self._remove(key)
            if change.removed:
                self._update_peer_index()  # before their places are others': the kernel program writes where it is told
            self._logged = {logged for logged in self._logged if logged[0] in self._targets}
            for key, want in change.kept.items():
                target = self._targets[key]
                target.address, target.mapped = want.address, mapped(want.address)
                target.zone, target.order = want.zone, want.order
            now = time.monotonic_ns()
            for key, want in change.added.items():
                self._add(key, want, now)
            self._update_peer_index()
            if change.refused and change.refused != self._refused:
                _LOG.warning(
                    "%d peers are not probed, there is room for %d (--max-peers): %s",
                    len(change.refused),
                    self._max_peers,
                    ", ".join(change.refused[:5]),
                )
            self._refused = change.refused
        self._wake.set()

    def stop(self) -> None:
        """Make `run` return; safe in a signal handler."""
        self._stopping = True
        self._wake.set()

    @property
    def peer_count(self) -> int:
        """How many peers are probed."""
        with self._lock:
            return len({key.peer for key in self._targets})

    def errors(self) -> dict[str, int]:
        """Return how many probes failed, by ICMP error or errno name."""
        with self._lock:
            return dict(self._errors)

    def send_delay(self) -> Histogram:
        """Return the send delay of all probes so far."""
        with self._lock:
            return Histogram(tuple(self._send_delays), self._send_delay_sum_ns)

    def recent(self, peer: str) -> dict[Family, list[RecentProbe]]:
        """Return the last probes of each family of `peer` that have ended, oldest first; nothing of a stranger."""
        with self._lock:
            targets = [target for target in self._targets.values() if target.key.peer == peer]
            return {target.key.family: self._recent(target) for target in targets}

    def pairs(self) -> Iterator[PairSnapshot]:
        """Yield each target's account, sorted by peer and preference, with all replies so far in it.

        The lock is taken anew for each: a scrape of thousands never holds up sending for long.
        """
        with self._lock:
            targets = sorted(self._targets.values(), key=lambda target: (target.key.peer, target.order))
        for target in targets:
            with self._lock:
                if target.gone:
                    continue
                self._settle_answered(target)
                snapshot = self._snapshot(target)
            yield snapshot

    # the prober's own thread

    def run(self) -> None:
        """Send and settle until `stop`."""
        while not self._stopping:
            now = self.last_turn_ns = time.monotonic_ns()
            with self._lock:
                self._settle_due(now)
                due = list(self._schedule.due(now))
            for target, due_ns in due:
                with self._lock:
                    if not target.gone and not self._stopping:
                        self._probe(target, due_ns)
            with self._lock:
                moments = [moment for moment in (self._schedule.next_due_ns(), self._next_settling_ns()) if moment]
            wait_ns = min(moments) - time.monotonic_ns() if moments else None
            self._wake.wait(IDLE_TURN_SECONDS if wait_ns is None else max(wait_ns, 0) / NANOSECONDS_PER_SECOND)
            self._wake.clear()

    def _probe(self, target: Target, due_ns: int) -> None:
        ledger = target.ledger
        place = ledger.next_place()
        overdue = ledger.probe_at(place)
        if overdue is not None:  # its deadline has passed: the time-out is under as many intervals as there are places
            self._settle(target, place, overdue, closed=True)
        slot = target.index * layout.PROBES_PER_TARGET + place
        nonce = new_nonce(place)
        feedback = echo.NO_FEEDBACK
        if self._feedback is not None:
            self._feedback.listen(target.index, target.memory)
            feedback = self._feedback.feedback(target.index)
        target.memory.remember(nonce, ledger.sent)
        request = echo.echo_request(target.key.family, self._identifier, slot, ledger.sent, nonce, feedback)
        sent_ns = time.monotonic_ns()
        deadline_ns = sent_ns + self._timeout_ns
        self._source.table.arm(slot, nonce=nonce, sent_ns=sent_ns, deadline_ns=deadline_ns, address=target.mapped)
        sequence = ledger.open(place, sent_ns, deadline_ns)
        self._schedule_lag.observe(max(sent_ns - due_ns, 0) / NANOSECONDS_PER_SECOND)
        try:
            self._source.send(request, target.address)
        except OSError as error:
            self._send_failed(target, place, sequence, error)
        else:
            self._to_settle.append((deadline_ns + RESOLVE_DELAY_NS, target, sequence))

    def _send_failed(self, target: Target, place: int, sequence: int, error: OSError) -> None:
        number = error.errno or 0
        self._errors[errno.errorcode.get(number, f"errno_{number}")] += 1
        if (target.key, number) not in self._logged:
            self._logged.add((target.key, number))
            _LOG.warning(
                "%s (%s) cannot be probed: %s; counted from now on, not logged",
                target.key.peer,
                target.address,
                error.strerror or error,
            )
        self._decide(target, place, Outcome(sequence, Result.SEND_ERROR))

    def _next_settling_ns(self) -> int | None:
        return self._to_settle[0][0] if self._to_settle else None

    def _settle_due(self, now_ns: int) -> None:
        while self._to_settle and self._to_settle[0][0] <= now_ns:
            _, target, sequence = self._to_settle.popleft()
            place = sequence % layout.PROBES_PER_TARGET
            probe = target.ledger.probe_at(place)
            if probe is not None and probe.sequence == sequence and not target.gone:
                self._settle(target, place, probe, closed=True)

    def _settle_answered(self, target: Target) -> None:
        for place, probe in target.ledger.open_probes():
            self._settle(target, place, probe, closed=False)

    def _settle(self, target: Target, place: int, probe: InFlight, *, closed: bool) -> None:
        completion = self._source.table.completion(target.index * layout.PROBES_PER_TARGET + place)
        outcome = outcome_of(probe, completion, closed=closed)
        if outcome is None:
            return
        if outcome.result is Result.LOST_NETWORK and self._feedback is not None:
            where = self._feedback.where_lost(
                target.index, target.memory, probe.sequence, completion.transmitted_ns, target.ledger.max_rtt_ns
            )
            outcome = replace(outcome, result=where)
        self._decide(target, place, outcome)

    def _decide(self, target: Target, place: int, outcome: Outcome) -> None:
        target.ledger.decide(place, outcome)
        if outcome.send_delay_ns is not None:
            target.device = outcome.device
            self._send_delays[bucket_of(outcome.send_delay_ns)] += 1
            self._send_delay_sum_ns += outcome.send_delay_ns
            self._send_delay.observe(outcome.send_delay_ns / NANOSECONDS_PER_SECOND)
        if outcome.error is not None:
            self._errors[error_name(target.key.family, *outcome.error)] += 1
        self._on_outcome(target, outcome)

    # under the lock

    def _add(self, key: TargetKey, want: Wanted, now_ns: int) -> None:
        index = self._free.take(now_ns)
        self._source.reserve(index + 1)
        self._clear(index)
        target = Target(key, index, want.address, want.zone, want.order, mapped(want.address))
        self._targets[key] = target
        self._schedule.add(target, now_ns, phase(self._node, key))

    def _remove(self, key: TargetKey) -> None:
        target = self._targets.pop(key)
        target.gone = True
        self._schedule.remove(target)
        self._clear(target.index)
        self._free.give_back(target.index, time.monotonic_ns())

    def _clear(self, index: int) -> None:
        self._source.table.clear_target(index)
        if self._feedback is not None:
            self._feedback.sessions.clear(index)

    def _update_peer_index(self) -> None:
        if self._feedback is None:
            return
        unplaced = self._feedback.set_peer_index({each.mapped: each.index for each in self._targets.values()})
        if unplaced:
            _LOG.warning("%d addresses find no place in the table of neighbours: their dwell is not measured", unplaced)

    def _recent(self, target: Target) -> list[RecentProbe]:
        self._settle_answered(target)
        offset, wall_offset_ns = None, time.time_ns() - time.monotonic_ns()
        if self._feedback is not None:
            self._feedback.listen(target.index, target.memory)
            offset, wall_offset_ns = target.memory.one_way.clock_offset(), self._feedback.wall_offset_ns
        probes = []
        for sequence, result in target.ledger.last_ended():
            slot = target.index * layout.PROBES_PER_TARGET + sequence % layout.PROBES_PER_TARGET
            stamps = self._source.table.stamps(slot)
            told = self._feedback.sessions.peer_report_of(target.index, stamps.nonce) if self._feedback else None
            probes.append(recent_probe(sequence, result, stamps, told, offset, wall_offset_ns))
        return probes

    def _snapshot(self, target: Target) -> PairSnapshot:
        ledger, table = target.ledger, self._source.table
        late, duplicates = table.late_and_duplicates(target.index)
        network_rtt = dwell = None
        if self._feedback is not None:
            self._feedback.listen(target.index, target.memory)
            network_rtt = self._feedback.sessions.network_rtt(target.index)
            dwell = self._feedback.sessions.dwell(target.index)
        one_way = target.memory.one_way if target.memory.is_reported_lately else _UNREPORTED
        last = one_way.last
        return PairSnapshot(
            to=target.key.peer,
            family=target.key.family,
            address=target.address,
            to_zone=target.zone,
            device=_device_name(target.device),
            sent=ledger.sent,
            results=dict(ledger.results),
            in_flight=ledger.in_flight,
            late=late,
            duplicates=duplicates,
            last_rtt_ns=ledger.last_rtt_ns,
            min_rtt_ns=ledger.min_rtt_ns,
            max_rtt_ns=ledger.max_rtt_ns,
            rtt=table.histogram(target.index),
            network_rtt=network_rtt,
            dwell=dwell,
            last_network_rtt_ns=last.network_rtt if last else None,
            last_peer_dwell_ns=last.t3 - last.t2 if last else None,
            clock_offset=one_way.clock_offset(),
            queueing=one_way.queueing(),
        )


def _device_name(index: int) -> str:
    """Return the name of an interface of this namespace; "" when there is none of that index (any more)."""
    if index == 0:
        return ""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""
