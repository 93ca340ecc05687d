"""Sends probes, many at a time: nonce, feedback, slot in the table and packet of each, and what a failure means."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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

_REPLY: Final = Result.REPLY  # a look-up by an enum's member is slow

_new: Final = tuple.__new__
"""Makes a NamedTuple in half of the time."""


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
        on_lags: Callable[[Sequence[int]], None],
    ) -> None:
        self.identifier: Final = source.identifier
        self._source = source
        self._table = source.table
        self._feedback = feedback
        self._resolver = resolver
        self._own_sources = own_sources
        self._error_log = error_log
        self._timeout_ns = timeout_ns
        self._on_lags = on_lags
        self._nonces = Nonces()
        self._request = echo.requests(source.identifier)
        self._start = source.table.starter(timeout_ns)

    def send(self, due: Mapping[Target, int]) -> None:
        """Send a probe to each target of `due`, which has the time in nanoseconds when it was due.

        Each of the three steps is done for all of them at once: all packets are made, all leave, all are entered in
        their ledgers. The kernel's work on a packet fills the caches, so steps in turns would take twice as long.
        """
        targets, packets = self._prepare(due)
        results = self._source.send_batch(packets, self._start)
        count_source = None if self._own_sources.are_all_used else self._own_sources.count
        sent: list[tuple[Target, int, int]] = []
        lags = []
        for target, packet, result in zip(targets, packets, results, strict=True):
            if isinstance(result, OSError):
                sent_ns = self._table.sent_ns(packet.slot)
                self._fail(target, sent_ns, result)
            else:
                sent_ns = result
                if count_source:
                    count_source(packet.to.family)
                sent.append((target, packet.slot, sent_ns))
            lag_ns = sent_ns - due[target]
            lags.append(lag_ns if lag_ns > 0 else 0)
        self._resolver.enter(sent, self._timeout_ns)
        self._resolver.totals.sum_up()
        self._on_lags(lags)

    def _prepare(self, due: Iterable[Target]) -> tuple[list[Target], list[Packet]]:
        """Return the targets whose next probe can be sent, and its packet for each, with its slot armed.

        A probe is counted as skipped instead while its position in the table holds a probe in flight: this process was
        late, or the time-out is long.
        """
        now_ns = time.monotonic_ns()  # the times of a probe that fails before its system call
        deadline_ns = now_ns + self._timeout_ns
        request, arm, next_nonce = self._request, self._table.arm, self._nonces.next
        exchange = self._feedback.exchange if self._feedback is not None else None
        targets, packets = [], []
        for target in due:
            ledger = target.ledger
            if ledger.unresolved:
                if not self._resolver.make_room(target):
                    self._resolver.totals.skipped += 1
                    continue
                answering = self._resolver.is_answering(target)
            else:
                answering = ledger.newest_result is _REPLY
            sequence = ledger.sent
            slot = target.slot(sequence)
            nonce = next_nonce(sequence)
            feedback = exchange(target.index, target.history, sequence) if exchange else echo.NO_FEEDBACK
            to = target.to
            arm(slot, nonce=nonce, sent_ns=now_ns, deadline_ns=deadline_ns, address=target.mapped)
            packet = _new(Packet, (slot, request(to.family, slot, sequence, nonce, feedback), to, answering))
            targets.append(target)
            packets.append(packet)
        return targets, packets

    def _fail(self, target: Target, sent_ns: int, failure: OSError) -> None:
        sequence = target.ledger.open(sent_ns, sent_ns + self._timeout_ns).sequence
        if isinstance(failure, NextHopUnresolved) or (isinstance(failure, SendBufferFull) and target.was_unresolved):
            target.unresolved_ns = sent_ns
            self._resolver.end(target, Outcome(sequence, Result.UNREACHABLE, error=NO_NEIGHBOUR))
            return
        name = errno.errorcode.get(failure.errno or 0, f"errno_{failure.errno or 0}")
        self._error_log.add(target, name, failure.strerror or str(failure))
        self._resolver.end(target, Outcome(sequence, Result.SEND_ERROR, error=name))
