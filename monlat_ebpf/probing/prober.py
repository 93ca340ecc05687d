"""Sends the probes and resolves them: the one loop that the agent, `monlat ping` and `monlat doctor` share.

The thread that calls `run` sends probes and resolves those whose deadline has passed. Other threads may change the
peers and read the counts at any time; reading resolves the probes whose answer has come. One lock guards it all.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final

from monlat_ebpf.abi import echo, layout
from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.host.wake_event import WakeEvent
from monlat_ebpf.model import Address, Family, Histogram, PairSnapshot, Peer, RecentProbe, Result
from monlat_ebpf.probing.error_log import ErrorLog
from monlat_ebpf.probing.feedback import HOLD_INTERVALS, FeedbackChannel, new_nonce
from monlat_ebpf.probing.ledger import NO_NEIGHBOUR, RESOLVE_DELAY_NS, InFlight, Outcome, Totals, outcome_of
from monlat_ebpf.probing.next_hop import SILENCE_NS, explain_loss
from monlat_ebpf.probing.own_sources import OwnSources
from monlat_ebpf.probing.schedule import JITTER, Schedule
from monlat_ebpf.probing.snapshot import pair_snapshot, recent_probes
from monlat_ebpf.probing.targets import Target, Targets, phase
from monlat_ebpf.sources import Source
from monlat_ebpf.sources.raw_sockets import NextHopUnresolved, SendBufferFull

IDLE_TURN_SECONDS: Final = 5.0
"""Without peers the loop still turns this often, so that /healthz can tell an idle loop from a dead one."""


class Prober:
    """Probes each target once in an interval and keeps its counts."""

    def __init__(
        self,
        source: Source,
        *,
        interval_seconds: float,
        timeout_seconds: float,
        max_peers: int,
        node: str = "",
        count: int | None = None,
        positions: int = layout.PROBES_PER_TARGET,
        feedback: FeedbackChannel | None = None,
        own_addresses: Callable[[], Sequence[Address]] = tuple,
        on_lag: Callable[[float], None] = lambda _seconds: None,
        on_outcome: Callable[[Target, Outcome], None] = lambda _target, _outcome: None,
    ) -> None:
        """Send at most `count` probes to each target; None for no end.

        With the name of this `node`, probes are spread over the interval, so that nodes do not send in step. Without,
        the first one is sent at once and the pace is even. `positions` is how many of a target's last probes have
        a slot. More than PROBES_PER_TARGET is for a single target, which then uses the slots of all.
        `own_addresses` returns the addresses by which the peers know this node: probes leave from these.
        `on_lag` gets how many seconds late each probe was sent; `on_outcome` gets each probe's outcome. Both are
        called under the lock, so they must be quick.
        """
        self._source = source
        self._node = node
        self._interval_ns = int(interval_seconds * NANOSECONDS_PER_SECOND)
        self._timeout_ns = int(timeout_seconds * NANOSECONDS_PER_SECOND)
        self._count = count
        self._feedback = feedback
        self._own_addresses = own_addresses
        self._on_lag = on_lag
        self._on_outcome = on_outcome
        self.identifier = source.identifier
        self.last_turn_ns = time.monotonic_ns()
        self._lock = threading.Lock()
        self._wake = WakeEvent()
        self._stopping = False
        self._targets = Targets(source, feedback, max_peers, positions)
        self._schedule: Schedule[Target] = Schedule(self._interval_ns, Random(), JITTER if node else 0.0)
        self._to_resolve: deque[tuple[int, Target, int]] = deque()  # when, target, sequence; the soonest first
        self._held: deque[tuple[int, Target, int]] = deque()  # likewise: lost, and a report may still tell where
        self._totals = Totals()
        self._error_log = ErrorLog()
        self._own_sources = OwnSources(source)

    # from any thread

    def set_peers(self, peers: Sequence[Peer]) -> None:
        """Probe these peers from now on; those that stay keep their counts."""
        with self._lock:
            removed, added = self._targets.set_peers(peers)
            for target in removed:
                self._schedule.remove(target)
            now = time.monotonic_ns()
            for target in added:
                self._schedule.add(target, now, phase(self._node, target.key) if self._node else 0.0)
        self._wake.set()

    def stop(self) -> None:
        """Make `run` return; safe in a signal handler."""
        self._stopping = True
        self._wake.set()

    def targets(self) -> list[Target]:
        """Return the targets, sorted by peer and preference."""
        with self._lock:
            return self._targets.sorted()

    def errors(self) -> dict[str, int]:
        """Return how many probes failed, by ICMP error or errno name."""
        with self._lock:
            return dict(self._totals.errors)

    def unlisted_sources(self) -> dict[Family, int]:
        """Return how many probes left from an address by which the peers do not know this node."""
        with self._lock:
            return dict(self._own_sources.unlisted)

    def skipped(self) -> int:
        """Return how many grid points passed without a probe, because this process did not run in time."""
        with self._lock:
            return self._totals.skipped

    def reply_stamps(self) -> Mapping[tuple[str, str], int]:
        """Return how many replies had a stamp, by device and by who took it: "driver" or "stack"."""
        with self._lock:
            return self._totals.reply_stamps.counts()

    def send_delay(self) -> Histogram:
        """Return the send delay of all probes so far."""
        with self._lock:
            return self._totals.send_delay

    def recent(self, peer: str) -> dict[Family, list[RecentProbe]]:
        """Return by family of `peer` its last probes that have ended, oldest first; empty if it is not probed."""
        with self._lock:
            targets = self._targets.of_peer(peer)
            for target in targets:
                self._resolve_answered(target)
            return {each.key.family: recent_probes(each, self._source.table, self._feedback) for each in targets}

    def pairs(self) -> Iterator[PairSnapshot]:
        """Yield what is known of each target, every reply so far included, sorted by peer and preference.

        The lock is taken for one target at a time: a scrape of thousands never holds up sending for long.
        """
        for target in self.targets():
            with self._lock:
                if target.is_removed:
                    continue
                self._resolve_answered(target)
                snapshot = pair_snapshot(target, self._source.table, self._feedback)
            yield snapshot

    def resolve(self, target: Target, sequence: int) -> None:
        """Resolve one probe if it is in flight and its answer has come."""
        with self._lock:
            probe = target.ledger.open_probe(sequence)
            if probe is not None and not target.is_removed:
                self._resolve(target, probe, expired=False)

    # in the thread that sends

    def run(self) -> None:
        """Send and resolve until `stop`, or until `count` probes to each target have ended."""
        while not self._stopping:
            now = self.last_turn_ns = time.monotonic_ns()
            with self._lock:
                self._own_sources.use(self._own_addresses(), now)
                self._resolve_expired(now)
                due = list(self._schedule.due(now))
            for target, due_ns, skipped in due:
                with self._lock:
                    if target.ledger.sent != self._count and not target.is_removed and not self._stopping:
                        self._totals.skipped += skipped
                        self._send(target, due_ns)
            self._error_log.write(time.monotonic_ns())
            with self._lock:
                if self._targets.have_ended(self._count):
                    return
                queues = (self._to_resolve, self._held)
                moments = [self._schedule.next_due_ns(), *(queue[0][0] for queue in queues if queue)]
            wait_ns = min((moment - time.monotonic_ns() for moment in moments if moment), default=None)
            self._wake.wait(IDLE_TURN_SECONDS if wait_ns is None else max(wait_ns, 0) / NANOSECONDS_PER_SECOND)
            self._wake.clear()

    def _send(self, target: Target, due_ns: int) -> None:
        ledger, table = target.ledger, self._source.table
        overdue = ledger.overdue
        if overdue is not None:
            expired = time.monotonic_ns() >= overdue.deadline_ns + RESOLVE_DELAY_NS
            self._resolve(target, overdue, expired=expired)
            if ledger.overdue is not None:  # its reply may still come: this process was late, or the time-out is long
                self._totals.skipped += 1
                return
        nonce = new_nonce(ledger.sent)
        feedback = echo.NO_FEEDBACK
        if self._feedback is not None:
            self._feedback.read_report(target.index, target.history)
            feedback = self._feedback.next_feedback(target.index, target.history)
            target.history.add(nonce, ledger.sent)
        slot = target.slot(ledger.sent)
        request = echo.echo_request(target.key.family, self.identifier, slot, ledger.sent, nonce, feedback)
        answering = self._is_answering(target)
        start = partial(table.start, slot, self._timeout_ns)
        now = time.monotonic_ns()
        table.arm(slot, nonce=nonce, sent_ns=now, deadline_ns=now + self._timeout_ns, address=target.mapped)
        failure: OSError | None = None
        try:
            self._source.send(request, target.address, start, answering=answering)
        except OSError as error:
            failure = error
        probe = ledger.open(*table.times(slot))
        self._on_lag(max(probe.sent_ns - due_ns, 0) / NANOSECONDS_PER_SECOND)
        if failure is None:
            self._own_sources.count(target.key.family)
            self._to_resolve.append((probe.deadline_ns + RESOLVE_DELAY_NS, target, probe.sequence))
            return
        if isinstance(failure, NextHopUnresolved) or (isinstance(failure, SendBufferFull) and target.was_unresolved):
            target.unresolved_ns = probe.sent_ns
            self._end(target, Outcome(probe.sequence, Result.UNREACHABLE, error=NO_NEIGHBOUR))
            return
        name = errno.errorcode.get(failure.errno or 0, f"errno_{failure.errno or 0}")
        self._error_log.add(target, name, failure.strerror or str(failure))
        self._end(target, Outcome(probe.sequence, Result.SEND_ERROR, error=name))

    def _is_answering(self, target: Target) -> bool:
        """Return whether the last ended probe was answered, and none has waited for a reply for SILENCE_NS."""
        now = time.monotonic_ns()
        while (oldest := target.ledger.oldest_open) is not None and now - oldest.sent_ns > SILENCE_NS:
            self._resolve(target, oldest, expired=False)
            if target.ledger.oldest_open is oldest:
                return False
        return target.ledger.newest_result is Result.REPLY

    def _resolve_expired(self, now_ns: int) -> None:
        for queue in (self._to_resolve, self._held):
            while queue and queue[0][0] <= now_ns:
                _, target, sequence = queue.popleft()
                probe = target.ledger.open_probe(sequence)
                if probe is not None and not target.is_removed:
                    self._resolve(target, probe, expired=True)

    def _resolve_answered(self, target: Target) -> None:
        for probe in target.ledger.open_probes():
            self._resolve(target, probe, expired=False)

    def _resolve(self, target: Target, probe: InFlight, *, expired: bool) -> None:
        completion = self._source.table.completion(target.slot(probe.sequence))
        outcome = outcome_of(probe, completion, target.key.family, expired=expired)
        if outcome is None:
            return
        if outcome.result is Result.LOST_NETWORK and self._feedback is not None:
            where = self._feedback.where_lost(target.index, target.history, probe.sequence, probe.deadline_ns)
            if where is None and self._hold(target, probe):
                return
            outcome = replace(outcome, result=where or Result.LOST_NETWORK)
        if outcome.result is Result.LOST_HOST and not outcome.error:
            outcome = explain_loss(target, probe, outcome, self._source.next_hop_state)
            if outcome.result is Result.LOST_HOST and outcome.error:
                self._error_log.add(target, outcome.error, "")
        target.transmitted_ns = max(target.transmitted_ns, completion.transmitted_ns)
        self._end(target, outcome)

    def _hold(self, target: Target, probe: InFlight) -> bool:
        """Leave a lost probe in flight until the peer's report tells where; return False if it has waited enough."""
        now = time.monotonic_ns()
        if now >= probe.deadline_ns + HOLD_INTERVALS * self._interval_ns or target.ledger.overdue is probe:
            return False
        target.ledger.expire(probe.sequence)
        self._held.append((now + self._interval_ns // 2, target, probe.sequence))
        return True

    def _end(self, target: Target, outcome: Outcome) -> None:
        target.ledger.resolve(outcome)
        target.device = outcome.device or target.device
        self._totals.add(outcome)
        self._on_outcome(target, outcome)
        if self._count is not None and not target.ledger.in_flight:
            self._wake.set()  # `run` may have to return, and another thread may have resolved this one
