"""What is known of a target at one instant, as values. The caller holds the prober's lock."""

from __future__ import annotations

import time
from typing import Final

from monlat_ebpf.abi.probes import ProbeTable
from monlat_ebpf.host.interfaces import device_name
from monlat_ebpf.model import PairReading, PairSnapshot, RecentProbe
from monlat_ebpf.probing.feedback import FeedbackChannel
from monlat_ebpf.probing.one_way import OneWay
from monlat_ebpf.probing.recent import recent_probe
from monlat_ebpf.probing.targets import Target

_NO_EXCHANGES: Final = OneWay()


def recent_probes(target: Target, table: ProbeTable, feedback: FeedbackChannel | None) -> list[RecentProbe]:
    """Return those of the last probes that have ended, oldest first."""
    offset, wall_offset_ns = None, time.time_ns() - time.monotonic_ns()
    if feedback is not None:
        feedback.read_report(target.index, target.history)
        offset, wall_offset_ns = target.history.one_way.clock_offset(), feedback.wall_offset_ns
    probes = []
    for sequence, result in target.ledger.last_ended():
        stamps = table.stamps(target.slot(sequence))
        report = feedback.sessions.peer_report_of(target.index, stamps.nonce) if feedback else None
        probes.append(recent_probe(sequence, result, stamps, report, offset, wall_offset_ns))
    return probes


def pair_reading(target: Target, table: ProbeTable, feedback: FeedbackChannel | None) -> PairReading:
    """Return the counts of a target, and copies of the memory of its histograms.

    A report that came since the last probe was sent is left for the next one: that is at most an interval.
    """
    ledger, wanted = target.ledger, target.wanted
    one_way = _one_way(target, feedback)
    return PairReading(
        to=target.key.peer,
        family=target.key.family,
        address=wanted.address,
        to_zone=wanted.zone,
        kind=wanted.kind,
        created_unix_seconds=target.created_unix_seconds,
        device=target.device,
        sent=ledger.sent,
        results=ledger.counts,
        in_flight=ledger.in_flight,
        last_rtt_ns=ledger.last_rtt_ns,
        min_rtt_ns=ledger.min_rtt_ns,
        counts=table.raw_counts(target.index),
        session=feedback.sessions.raw_histograms(target.index) if feedback is not None else None,
        clock_offset=one_way.clock_offset(),
        queueing=one_way.queueing(),
    )


def pair_snapshot(target: Target, table: ProbeTable, feedback: FeedbackChannel | None) -> PairSnapshot:
    """Return the counts and times of a target."""
    ledger, wanted = target.ledger, target.wanted
    late, duplicates = table.late_and_duplicates(target.index)
    network_rtt = dwell = None
    if feedback is not None:
        feedback.read_report(target.index, target.history)
        network_rtt = feedback.sessions.network_rtt(target.index)
        dwell = feedback.sessions.dwell(target.index)
    one_way = _one_way(target, feedback)
    last = one_way.last
    return PairSnapshot(
        to=target.key.peer,
        family=target.key.family,
        address=wanted.address,
        to_zone=wanted.zone,
        device=device_name(target.device),
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
        kind=wanted.kind,
    )


def _one_way(target: Target, feedback: FeedbackChannel | None) -> OneWay:
    """Return the target's exchanges, none if the peer has ceased to report."""
    if feedback is None or not feedback.is_reported_lately(target.index, target.history):
        return _NO_EXCHANGES
    return target.history.one_way
