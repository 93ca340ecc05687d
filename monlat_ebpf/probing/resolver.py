"""Gives each probe its result: when its answer has come, when its deadline has passed, or when a report tells where."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from monlat_ebpf.abi.probes import Reply
from monlat_ebpf.model import Result
from monlat_ebpf.probing.error_log import ErrorLog
from monlat_ebpf.probing.feedback import HOLD_INTERVALS, FeedbackChannel
from monlat_ebpf.probing.ledger import RESOLVE_DELAY_NS, InFlight, Outcome, Totals, outcome_of
from monlat_ebpf.probing.next_hop import SILENCE_NS, explain_loss
from monlat_ebpf.probing.targets import Target
from monlat_ebpf.sources import Source

OnOutcome = Callable[[Target, Outcome], None]


class Resolver:
    """Resolves probes, and keeps which are still to be resolved. The prober's lock guards it.

    Almost every probe is answered, most of them before the last one of their tick has left. Such a probe takes the
    short way: it is counted without an Outcome, as soon as anything else is to do. If somebody asks for the outcomes,
    probes are resolved only when they are asked for, or when their time is over.
    """

    def __init__(
        self,
        source: Source,
        feedback: FeedbackChannel | None,
        interval_ns: int,
        error_log: ErrorLog,
        on_outcome: OnOutcome | None,
    ) -> None:
        self.totals: Final = Totals()
        self._table = source.table
        self._next_hop_state = source.next_hop_state
        self._feedback = feedback
        self._interval_ns = interval_ns
        self._error_log = error_log
        self._on_outcome = on_outcome
        self._to_resolve: deque[tuple[int, Target, int]] = deque()  # when, target, sequence; the soonest first
        self._held: deque[tuple[int, Target, int]] = deque()  # likewise: lost, and a report may still tell where

    def enter(self, sent: Sequence[tuple[Target, int, int]], timeout_ns: int) -> None:
        """Enter the next probe of each target. `sent` has the target, the slot and t0 of each.

        A probe is counted now if its reply has come, and otherwise at its deadline at the latest.
        """
        reply_of, count = self._table.reply, self._count
        for target, slot, sent_ns in sent:
            deadline_ns = sent_ns + timeout_ns
            reply = reply_of(slot, sent_ns, deadline_ns) if self._on_outcome is None else None
            if reply is not None:
                target.ledger.add_answered(reply.received_ns - reply.transmitted_ns)
                count(target, sent_ns, reply)
            else:
                probe = target.ledger.open(sent_ns, deadline_ns)
                self._to_resolve.append((deadline_ns + RESOLVE_DELAY_NS, target, probe.sequence))

    def next_ns(self) -> int | None:
        """Return when a probe must be resolved whose answer has not come, None if there is none."""
        queue = self._to_resolve
        while queue:
            at_ns, target, sequence = queue[0]
            unresolved = target.ledger.unresolved
            probe = unresolved.get(sequence)
            if probe is not None and not target.is_removed:
                if self._on_outcome is None:
                    self.resolve(target, probe, expired=False)
                if sequence in unresolved:
                    return min(at_ns, self._held[0][0]) if self._held else at_ns
            queue.popleft()
        return self._held[0][0] if self._held else None

    def resolve_expired(self, now_ns: int) -> None:
        """Resolve the probes whose time is over."""
        for queue in (self._to_resolve, self._held):
            while queue and queue[0][0] <= now_ns:
                _, target, sequence = queue.popleft()
                probe = target.ledger.unresolved.get(sequence)
                if probe is not None and not target.is_removed:
                    self.resolve(target, probe, expired=True)

    def resolve_answered(self, target: Target) -> None:
        """Resolve those probes of `target` whose answer has come."""
        for probe in list(target.ledger.unresolved.values()):
            self.resolve(target, probe, expired=False)

    def make_room(self, target: Target) -> bool:
        """Resolve what can be resolved of `target`; return whether its next probe finds its position free."""
        if self._on_outcome is None:
            self.resolve_answered(target)
        overdue = target.ledger.overdue
        if overdue is not None:
            expired = time.monotonic_ns() >= overdue.deadline_ns + RESOLVE_DELAY_NS
            self.resolve(target, overdue, expired=expired)
        return target.ledger.overdue is None

    def is_answering(self, target: Target) -> bool:
        """Return whether the last ended probe was answered, and none has waited for a reply for SILENCE_NS."""
        if target.ledger.unresolved:
            now = time.monotonic_ns()
            while (oldest := target.ledger.oldest_open) is not None and now - oldest.sent_ns > SILENCE_NS:
                self.resolve(target, oldest, expired=False)
                if target.ledger.oldest_open is oldest:
                    return False
        return target.ledger.newest_result is Result.REPLY

    def resolve(self, target: Target, probe: InFlight, *, expired: bool) -> None:
        """Resolve one probe if its answer has come, or if its deadline has `expired`."""
        slot = target.slot(probe.sequence)
        reply = self._table.reply(slot, probe.sent_ns, probe.deadline_ns)
        if reply is None or self._on_outcome is not None:
            self._resolve_any(target, probe, slot, expired=expired)
            return
        target.ledger.add_reply(probe.sequence, reply.received_ns - reply.transmitted_ns)
        self._count(target, probe.sent_ns, reply)

    def _count(self, target: Target, sent_ns: int, reply: Reply) -> None:
        transmitted_ns, _, device, reply_device, stamped_by = reply
        if device and device != target.device:
            target.device = device
        if target.unresolved_ns and transmitted_ns > target.transmitted_ns:
            target.transmitted_ns = transmitted_ns
        totals = self.totals
        totals.latest_send_delays.append(transmitted_ns - sent_ns)
        if stamped_by:
            totals.reply_stamps.latest.append((reply_device, stamped_by))

    def _resolve_any(self, target: Target, probe: InFlight, slot: int, *, expired: bool) -> None:
        completion = self._table.completion(slot)
        outcome = outcome_of(probe, completion, target.key.family, expired=expired)
        if outcome is None:
            return
        if outcome.result is Result.LOST_NETWORK and self._feedback is not None:
            newest = target.ledger.sent - 1
            where = self._feedback.where_lost(target.index, target.history, probe.sequence, probe.deadline_ns, newest)
            if where is None and self._hold(target, probe):
                return
            outcome = outcome._replace(result=where or Result.LOST_NETWORK)
        if outcome.result is Result.LOST_HOST and not outcome.error:
            outcome = explain_loss(target, probe, outcome, self._next_hop_state)
            if outcome.result is Result.LOST_HOST and outcome.error:
                self._error_log.add(target, outcome.error, "")
        target.transmitted_ns = max(target.transmitted_ns, completion.transmitted_ns)
        self.end(target, outcome)

    def _hold(self, target: Target, probe: InFlight) -> bool:
        """Leave a lost probe in flight until the peer's report tells where; return False if it has waited enough."""
        now = time.monotonic_ns()
        if now >= probe.deadline_ns + HOLD_INTERVALS * self._interval_ns or target.ledger.overdue is probe:
            return False
        target.ledger.expire(probe.sequence)
        self._held.append((now + self._interval_ns // 2, target, probe.sequence))
        return True

    def end(self, target: Target, outcome: Outcome) -> None:
        """Give a probe its result."""
        target.ledger.resolve(outcome)
        target.device = outcome.device or target.device
        self.totals.add(outcome)
        if self._on_outcome is not None:
            self._on_outcome(target, outcome)
