"""Sends one probe: its nonce, its feedback, its slot in the table, its packet, and what a failure means."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Final

from monlat_ebpf.abi import echo
from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.model import Result
from monlat_ebpf.probing.error_log import ErrorLog
from monlat_ebpf.probing.feedback import FeedbackChannel
from monlat_ebpf.probing.ledger import NO_NEIGHBOUR, Outcome
from monlat_ebpf.probing.nonces import Nonces
from monlat_ebpf.probing.own_sources import OwnSources
from monlat_ebpf.probing.resolver import Resolver
from monlat_ebpf.probing.targets import Target
from monlat_ebpf.sources import Source
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
        on_lag: Callable[[float], None],
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
        self._slot = 0  # of the probe that `_start` is about

    def send(self, target: Target, due_ns: int, *, rehearse: bool) -> None:
        """Send a probe that was due at `due_ns`. `rehearse` as in Source.send.

        Count it as skipped instead while its position in the table holds a probe in flight: this process was late, or
        the time-out is long.
        """
        ledger = target.ledger
        if ledger.in_flight and not self._resolver.make_room(target):
            self._resolver.totals.skipped += 1
            return
        sequence = ledger.sent
        feedback = echo.NO_FEEDBACK
        if self._feedback is not None:
            self._feedback.read_report(target.index, target.history)
            feedback = self._feedback.next_feedback(target.index, target.history, sequence)
        nonce = self._nonces.next(sequence)
        slot = self._slot = target.slot(sequence)
        to = target.to
        request = echo.echo_request(to.family, self.identifier, slot, sequence, nonce, feedback)
        answering = self._resolver.is_answering(target)
        now = time.monotonic_ns()
        self._table.arm(slot, nonce=nonce, sent_ns=now, deadline_ns=now + self._timeout_ns, address=target.mapped)
        failure: OSError | None = None
        try:
            sent_ns = self._source.send(request, to, self._start, answering=answering, rehearse=rehearse)
        except OSError as error:
            failure, sent_ns = error, self._table.sent_ns(slot)
        probe = ledger.open(sent_ns, sent_ns + self._timeout_ns)
        self._on_lag(max(sent_ns - due_ns, 0) / NANOSECONDS_PER_SECOND)
        if failure is None:
            self._own_sources.count(to.family)
            self._resolver.enter(target, probe)
        else:
            self._fail(target, probe.sequence, sent_ns, failure)

    def _start(self) -> int:
        return self._table.start(self._slot, self._timeout_ns)

    def _fail(self, target: Target, sequence: int, sent_ns: int, failure: OSError) -> None:
        if isinstance(failure, NextHopUnresolved) or (isinstance(failure, SendBufferFull) and target.was_unresolved):
            target.unresolved_ns = sent_ns
            self._resolver.end(target, Outcome(sequence, Result.UNREACHABLE, error=NO_NEIGHBOUR))
            return
        name = errno.errorcode.get(failure.errno or 0, f"errno_{failure.errno or 0}")
        self._error_log.add(target, name, failure.strerror or str(failure))
        self._resolver.end(target, Outcome(sequence, Result.SEND_ERROR, error=name))
