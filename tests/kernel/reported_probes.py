"""Probes that the peer reported, read from the agent's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from monlat_ebpf.abi import layout
from monlat_ebpf.sources import Source


@dataclass(frozen=True, slots=True)
class ReportedProbe:
    """A probe that the peer reported: its target, its RTT by t1 and t4, and the peer's dwell; nanoseconds."""

    target: int
    nonce: int
    rtt_ns: int
    dwell_ns: int


def reported_probes(source: Source, targets: int) -> Iterator[ReportedProbe]:
    """Yield the last reported probe of each of the first `targets`."""
    sessions, table = source.sessions, source.table
    assert sessions is not None
    for target in range(targets):
        report = sessions.peer_report_of(target, sessions.reported_nonce(target))
        if report is not None:
            stamps = table.stamps(target * layout.PROBES_PER_TARGET + report.nonce % layout.PROBES_PER_TARGET)
            assert stamps.nonce == report.nonce
            yield ReportedProbe(target, report.nonce, stamps.received_ns - stamps.transmitted_ns, report.dwell_ns)


def rejected(source: Source) -> dict[str, int]:
    """Return how often feedback was rejected, for the reasons that occurred."""
    assert source.sessions is not None
    return {reason: count for reason, count in source.sessions.rejected_feedback().items() if count}
