"""Sends the probes and resolves them: the one loop that the agent, `monlat ping` and `monlat doctor` share.

The thread that calls `run` sends probes and resolves those whose deadline has passed. Other threads may change the
peers and read the counts at any time; reading resolves the probes whose answer has come. One lock guards it all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Final, TypeVar

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.abi.probes import ProbeTable
from monlat_ebpf.host.wake_event import WakeEvent
from monlat_ebpf.model import Address, Family, Histogram, PairReading, PairSnapshot, Peer, RecentProbe
from monlat_ebpf.probing.error_log import ErrorLog
from monlat_ebpf.probing.feedback import FeedbackChannel
from monlat_ebpf.probing.ledger import Outcome
from monlat_ebpf.probing.own_sources import OwnSources
from monlat_ebpf.probing.resolver import OnOutcome, Resolver
from monlat_ebpf.probing.schedule import JITTER, Schedule
from monlat_ebpf.probing.sender import Sender
from monlat_ebpf.probing.snapshot import pair_reading, pair_snapshot, recent_probes
from monlat_ebpf.probing.targets import Target, Targets, phase
from monlat_ebpf.sources import Source

_Read = TypeVar("_Read")

IDLE_TURN_NS: Final = 5 * NANOSECONDS_PER_SECOND
"""Without peers the loop still turns this often, so that /healthz can tell an idle loop from a dead one."""

TARGETS_A_TICK: Final = 144
MOST_AT_ONCE: Final = 200
"""Probes that are sent before others may have the lock: 3 or 4 ms. Few ticks have so many targets."""

FEWEST_TICKS: Final = 2  # in an interval
LONGEST_TICK_NS: Final = 500_000_000


def tick_ns(interval_ns: int, targets: int) -> int:
    """Return the tick of the schedule in nanoseconds. Pure.

    A wake-up costs as much as 10 to 30 probes do, most of it for caches that hold nothing of this process any more. So
    all targets are due in few ticks, with TARGETS_A_TICK in each of them on average. The interval is a whole number of
    ticks: with a remainder, a target would come now one tick sooner, now one later.
    """
    ticks = max(FEWEST_TICKS, -(-targets // TARGETS_A_TICK), -(-interval_ns // LONGEST_TICK_NS))
    return max(interval_ns // ticks, 1)


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
        on_lags: Callable[[Sequence[int]], None] = lambda _nanoseconds: None,
        on_outcome: OnOutcome | None = None,
    ) -> None:
        """Send at most `count` probes to each target; None for no end.

        With the name of this `node`, probes are spread over the interval, so that nodes do not send in step. Without,
        the first one is sent at once and the pace is even. `positions` is how many of a target's last probes have
        a slot. More than PROBES_PER_TARGET is for a single target, which then uses the slots of all.
        `own_addresses` returns the addresses by which the peers know this node: probes leave from these.
        `on_lags` gets how many nanoseconds late each probe was sent, for those of a tick at once. `on_outcome` gets
        each probe's outcome, which then is resolved at its deadline at the latest, or before when it is asked for. Both
        are called under the lock, so they must be quick.
        """
        self._source = source
        self._node = node
        self._count = count
        self._feedback = feedback
        self._own_addresses = own_addresses
        self._on_outcome = on_outcome
        self.last_turn_ns = time.monotonic_ns()
        self._lock = threading.Lock()
        self._peers_lock = threading.Lock()  # taken first, by those who change the peers
        self._wake = WakeEvent()
        self._stopping = False
        self._next_second_ns = 0
        self._targets = Targets(source, feedback, max_peers, positions)
        interval_ns = int(interval_seconds * NANOSECONDS_PER_SECOND)
        self._interval_ns = interval_ns
        self._schedule: Schedule[Target] = Schedule(interval_ns, Random(), JITTER if node else 0.0)
        self._error_log = ErrorLog()
        self._own_sources = OwnSources(source)
        self._resolver = Resolver(
            source, feedback, interval_ns, self._error_log, on_outcome if count is None else self._end_of_one
        )
        self._totals = self._resolver.totals
        self._sender = Sender(
            source,
            feedback,
            self._resolver,
            self._own_sources,
            self._error_log,
            int(timeout_seconds * NANOSECONDS_PER_SECOND),
            on_lags,
        )
        self.identifier = source.identifier

    # from any thread

    def set_peers(self, peers: Sequence[Peer]) -> None:
        """Probe these peers from now on; those that stay keep their counts."""
        with self._peers_lock:
            change = self._targets.changes(peers)  # takes long for thousands, and sending goes on meanwhile
            phases = {key: phase(self._node, key) if self._node else 0.0 for key in change.added}
            change = replace(change, added=dict(sorted(change.added.items(), key=lambda item: phases[item[0]])))
            with self._lock:
                removed, added = self._targets.apply(change)
                for target in removed:
                    self._schedule.remove(target)
                if self._node:
                    self._schedule.set_tick(tick_ns(self._interval_ns, len(self._targets)))
                now = time.monotonic_ns()
                for target in added:
                    self._schedule.add(target, now, phases[target.key])
        self._wake.set()

    def stop(self) -> None:
        """Make `run` return; safe in a signal handler."""
        self._stopping = True
        self._wake.set()

    def targets(self) -> Sequence[Target]:
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
                self._resolver.resolve_answered(target)
            return {each.key.family: recent_probes(each, self._source.table, self._feedback) for each in targets}

    def pairs(self, peer: str | None = None) -> Iterator[PairSnapshot]:
        """Yield what is known of each target, or of those of `peer`, every reply so far included.

        They are sorted by peer and preference.
        """
        return self._read_each(pair_snapshot, peer)

    def readings(self) -> Iterator[PairReading]:
        """Yield what a scrape shows of each target, every reply so far included, sorted by peer and preference."""
        return self._read_each(pair_reading)

    def _read_each(
        self, read: Callable[[Target, ProbeTable, FeedbackChannel | None], _Read], peer: str | None = None
    ) -> Iterator[_Read]:
        """Take the lock for one target at a time: a scrape of thousands never holds up sending for long."""
        for target in self.targets():
            if peer is not None and target.key.peer != peer:
                continue
            with self._lock:
                if target.is_removed:
                    continue
                self._resolver.resolve_answered(target)
                result = read(target, self._source.table, self._feedback)
            yield result

    def resolve(self, target: Target, sequence: int) -> None:
        """Resolve one probe if it is in flight and its answer has come."""
        with self._lock:
            probe = target.ledger.unresolved.get(sequence)
            if probe is not None and not target.is_removed:
                self._resolver.resolve(target, probe, expired=False)

    # in the thread that sends

    def run(self) -> None:
        """Send and resolve until `stop`, or until `count` probes to each target have ended."""
        while not self._stopping:
            now = self.last_turn_ns = time.monotonic_ns()
            with self._lock:
                self._begin_turn(now)
                self._send_due(now)
            self._error_log.write(time.monotonic_ns())
            with self._lock:
                if self._targets.have_ended(self._count):
                    return
                moments = [moment for moment in (self._resolver.next_ns(), self._schedule.next_due_ns()) if moment]
            wait_ns = min(moments, default=now + IDLE_TURN_NS) - time.monotonic_ns()
            if self._wake.wait(max(wait_ns, 0) / NANOSECONDS_PER_SECOND):
                self._wake.clear()

    def _begin_turn(self, now_ns: int) -> None:
        if now_ns >= self._next_second_ns:
            self._next_second_ns = now_ns + NANOSECONDS_PER_SECOND
            self._own_sources.use(self._own_addresses())
            self._totals.reply_stamps.update()
        if self._feedback is not None:
            self._feedback.poll_clock()
        self._resolver.resolve_expired(now_ns)

    def _send_due(self, now_ns: int) -> None:
        """Send to the first MOST_AT_ONCE targets that are due. The others follow when the lock was free."""
        due: dict[Target, int] = {}
        for target, due_ns, skipped in islice(self._schedule.due(now_ns), MOST_AT_ONCE):
            if target in due:  # this process was late, and its next time has come, too
                self._sender.send(due)
                due = {}
            if target.ledger.sent == self._count or self._stopping:
                continue
            self._totals.skipped += skipped
            due[target] = due_ns
        if due:
            self._sender.send(due)

    def _end_of_one(self, target: Target, outcome: Outcome) -> None:
        if self._on_outcome is not None:
            self._on_outcome(target, outcome)
        if not target.ledger.in_flight:
            self._wake.set()  # `run` may have to return, and another thread may have resolved this one
