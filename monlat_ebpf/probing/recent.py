"""One of the last probes of a target: what `monlat explain` draws. Pure.

The table keeps a probe's stamps, and the session its peer's report, until the probe's slot is used again. So the
last PROBES_PER_TARGET probes can be shown without a copy of them.
"""

from __future__ import annotations

from typing import Final

from monlat_ebpf.abi.probes import Stamps
from monlat_ebpf.abi.sessions import PeerReport
from monlat_ebpf.model import ClockOffset, RecentProbe, Result
from monlat_ebpf.probing.one_way import DRIFT

DRIFT_NS: Final = round(DRIFT * 10_000_000_000)
"""How far two clocks may drift apart in 10 s: a margin for the time between a probe and the estimate of the offset."""


def recent_probe(
    sequence: int,
    result: Result,
    stamps: Stamps,
    report: PeerReport | None,
    offset: ClockOffset | None,
    wall_offset_ns: int,
) -> RecentProbe:
    """Return the probe that has these `stamps`. The wall clock is `wall_offset_ns` ahead of CLOCK_MONOTONIC."""
    transmitted = stamps.transmitted_ns
    sent_unix = stamps.sent_ns + wall_offset_ns
    send_delay = transmitted - stamps.sent_ns if transmitted else None
    if result is not Result.REPLY or send_delay is None:
        return RecentProbe(sequence, result, sent_unix, send_delay)
    rtt = stamps.received_ns - transmitted
    if report is None:
        return RecentProbe(sequence, result, sent_unix, send_delay, rtt)
    apparent_forward = report.peer_received_ns - transmitted - wall_offset_ns
    forward, backward = directions(rtt - report.dwell_ns, apparent_forward, offset)
    return RecentProbe(sequence, result, sent_unix, send_delay, rtt, report.dwell_ns, forward, backward)


def directions(
    network_rtt_ns: int, apparent_forward_ns: int, offset: ClockOffset | None
) -> tuple[int, int] | tuple[None, None]:
    """Return the time of each direction. They add up to `network_rtt_ns`, and each is as wrong as the offset is.

    `apparent_forward_ns` is t2 - t1, each by its own node's clock. Nothing arrives before it was sent. So if a
    direction is below zero by more than the error, a clock was stepped after the estimate: return None for both.
    """
    if offset is None:
        return None, None
    forward = round(apparent_forward_ns - offset.offset_ns)
    least = -offset.error_ns - DRIFT_NS
    if not least <= forward <= network_rtt_ns - least:
        return None, None
    return forward, network_rtt_ns - forward
