"""Sends probes, many at a time: nonce, feedback, slot in the table and packet of each, and what a failure means."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from typing import Final

from monlat_ebpf.abi import echo
from monlat_ebpf.model import Result
from monlat_ebpf.probing.error_log import ErrorLog
from monlat_ebpf.probing.feedback import FeedbackChannel
from monlat_ebpf.probing.ledger import NO_NEIGHBOUR, Outcome
from monlat_ebpf.probing.nonces import Nonces
from monlat_ebpf.probing.own_sources import OwnSources
from monlat_ebpf.probing.resolver import Resolver
from monlat_ebpf.probing.targets import Target
from monlat_ebpf.sources import Packet, Source
from monlat_ebpf.sources.raw_sockets import NextHopUnresolved, SendBufferFull


class Sender:
    """Sends probes. The prober's lock guards it."""

    def __init__(
        self,
        source: Source,
        feedback: FeedbackChannel | None,
        resolver: Resolver,
        own_sources: OwnSources,
        error_log: ErrorLog,
        timeout_ns: int,
        on_lag: Callable[[int], None],
    ) -> None:
        self.identifier: Final = source.identifier
        self._source = source
        self._table = source.table
        self._feedback = feedback
        self._resolver = resolver
        self._own_sources = own_sources
        self._error_log = error_log
        self._timeout_ns = timeout_ns
        self._on_lag = on_lag
        self._nonces = Nonces()
        self._start = source.table.starter(timeout_ns)

    def send(self, due: Mapping[Target, int]) -> None:
        """Send a probe to each target of `due`, which has the time in nanoseconds when it was due.

        Each of the three steps is done for all of them at once: all packets are made, all leave, all are entered in
        their ledgers. The kernel's work on a packet fills the caches, so steps in turns would take twice as long.
        """
        now_ns = time.monotonic_ns()  # the times of a probe that fails before its system call
        targets, times_due, packets = [], [], []
        for target, due_ns in due.items():
            packet = self._prepare(target, now_ns)
            if packet is not None:
                targets.append(target)
                times_due.append(due_ns)
                packets.append(packet)
        results = self._source.send_batch(packets, self._start)
        for target, due_ns, packet, result in zip(targets, times_due, packets, results, strict=True):
            sent_ns = self._table.sent_ns(packet.slot) if isinstance(result, OSError) else result
            probe = target.ledger.open(sent_ns, sent_ns + self._timeout_ns)
            self._on_lag(max(sent_ns - due_ns, 0))
            if isinstance(result, OSError):
                self._fail(target, probe.sequence, sent_ns, result)
            else:
                self._own_sources.count(packet.to.family)
                self._resolver.enter(target, probe)

    def _prepare(self, target: Target, now_ns: int) -> Packet | None:
        """Return the next probe's packet, with its slot armed.

        Count it as skipped instead, and return None, while its position in the table holds a probe in flight: this
        process was late, or the time-out is long.
        """
        ledger = target.ledger
        if ledger.unresolved and not self._resolver.make_room(target):
            self._resolver.totals.skipped += 1
            return None
        sequence = ledger.sent
        feedback = echo.NO_FEEDBACK
        if self._feedback is not None:
            self._feedback.read_report(target.index, target.history)
            feedback = self._feedback.next_feedback(target.index, target.history, sequence)
        nonce = self._nonces.next(sequence)
        slot = target.slot(sequence)
        to = target.to
        request = echo.echo_request(to.family, self.identifier, slot, sequence, nonce, feedback)
        self._table.arm(slot, nonce=nonce, sent_ns=now_ns, deadline_ns=now_ns + self._timeout_ns, address=target.mapped)
        return Packet(slot, request, to, self._resolver.is_answering(target))

    def _fail(self, target: Target, sequence: int, sent_ns: int, failure: OSError) -> None:
        if isinstance(failure, NextHopUnresolved) or (isinstance(failure, SendBufferFull) and target.was_unresolved):
            target.unresolved_ns = sent_ns
            self._resolver.end(target, Outcome(sequence, Result.UNREACHABLE, error=NO_NEIGHBOUR))
            return
        name = errno.errorcode.get(failure.errno or 0, f"errno_{failure.errno or 0}")
        self._error_log.add(target, name, failure.strerror or str(failure))
        self._resolver.end(target, Outcome(sequence, Result.SEND_ERROR, error=name))
