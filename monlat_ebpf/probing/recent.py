"""The last probes of a target, one by one: what `monlat explain` draws. Pure.

The table keeps a probe's stamps, and the session what its peer told of it, until the probe's place is needed
again. So the last PROBES_PER_TARGET probes can be told without any memory of their own.
"""

from __future__ import annotations

from typing import Final

from monlat_ebpf.abi.probes import Stamps
from monlat_ebpf.abi.sessions import PeerReport
from monlat_ebpf.model import ClockOffset, RecentProbe, Result

DRIFT_NS: Final = 1_000_000
"""How far two clocks may have drifted apart since the offset was estimated: 60 s at 15e-6 (RFC 5905)."""


def recent_probe(
    sequence: int,
    result: Result,
    stamps: Stamps,
    told: PeerReport | None,
    offset: ClockOffset | None,
    wall_offset_ns: int,
) -> RecentProbe:
    """Return the probe that `stamps` are of, on the wall clock that is `wall_offset_ns` ahead of CLOCK_MONOTONIC."""
    transmitted = stamps.transmitted_ns
    sent_unix = stamps.sent_ns + wall_offset_ns
    send_delay = transmitted - stamps.sent_ns if transmitted else None
    if result is not Result.REPLY or send_delay is None:
        return RecentProbe(sequence, result, sent_unix, send_delay)
    rtt = stamps.received_ns - transmitted
    if told is None:
        return RecentProbe(sequence, result, sent_unix, send_delay, rtt)
    forward, backward = directions(rtt - told.dwell_ns, told.peer_received_ns - transmitted - wall_offset_ns, offset)
    return RecentProbe(sequence, result, sent_unix, send_delay, rtt, told.dwell_ns, forward, backward)


def directions(
    network_rtt_ns: int, apparent_forward_ns: int, offset: ClockOffset | None
) -> tuple[int, int] | tuple[None, None]:
    """Return the time of each direction, whose sum is `network_rtt_ns`; by the offset, hence as wrong as that.

    `apparent_forward_ns` is t2 - t1, each by its own node's clock. Nothing arrives before it was sent: a direction
    that is shorter than nothing by more than the error means that a clock was stepped since, and nothing is known.
    """
    if offset is None:
        return None, None
    forward = round(apparent_forward_ns - offset.offset_ns)
    least = -offset.error_ns - DRIFT_NS
    if not least <= forward <= network_rtt_ns - least:
        return None, None
    return forward, network_rtt_ns - forward
