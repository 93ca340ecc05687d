"""What bench/scale claims of its result: each claim holds or fails. Claims are about peers with one address."""

from __future__ import annotations

from bench.report import Claims
from bench.scale_result import FPING, MONLAT, Load, Result, missing, most_missing

MULTIPLES = {100: 4.0, 1000: 2.5, 5000: 2.0}
"""Of fping's processor time, by the number of peers."""
MULTIPLE_WITH_FEEDBACK = 4.0
RESIDENT_MIB = {3: 36.0, 1000: 48.0, 5000: 96.0}
GROWTH_MIB = 10.0
LAG_SECONDS = 0.005
CORE_OF_3_PEERS = 1.0  # per cent
IN_FLIGHT = 10
"""Probes that a program may have sent and not counted, because it was interrupted before their replies came."""
UNREPORTED = 0.05
"""The part of the feedback that may be on its way."""


def judge(result: Result) -> int:
    """Print the claims; return 1 when one does not hold."""
    claims = Claims()
    for load in result.loads:
        if load.is_dual:
            continue
        _check_fairness(claims, result, load)
        multiple = result.multiple(load)
        limit = MULTIPLE_WITH_FEEDBACK if load.has_feedback else MULTIPLES.get(load.peers)
        if multiple is not None and limit is not None and load.peers in MULTIPLES:
            claims.check(f"processor time of a probe / fping's, {load}", multiple, limit)
        _check_probing(claims, result, load)
        if load.has_feedback:
            _check_feedback(claims, result, load)
        else:
            _check_memory(claims, result, load)
    return claims.exit_status


def _check_fairness(claims: Claims, result: Result, load: Load) -> None:
    """Both programs of a multiple have sent what they were asked to, and fping counts its probes as the peers do."""
    for program in (MONLAT, FPING):
        for each in result.rounds.get((load, program), ()):
            what = f"part of the probes that {program} did not send, {load}"
            claims.check(what, missing(load, each.usage), most_missing(each.usage))
            if each.usage.own_count:
                own, counted = each.usage.own_count
                what = f"probes by which {program}'s own count and the peers' differ, {load}"
                claims.check(what, abs(own - counted), IN_FLIGHT)


def _check_probing(claims: Claims, result: Result, load: Load) -> None:
    for _, agent in result.agents(load):
        claims.check(f"skipped probes, {load}", agent.skipped, 1)
        claims.check(f"probes without a reply, {load}", agent.lost, 1)
        if agent.lag_scraped:
            p99 = agent.lag_scraped[1] * 1e3
            claims.check(f"p99 of the schedule lag, scraped every second, {load}", p99, LAG_SECONDS * 1e3, " ms")


def _check_memory(claims: Claims, result: Result, load: Load) -> None:
    for usage, agent in result.agents(load):
        if load.peers in RESIDENT_MIB:
            claims.check(f"memory, {load}", usage.resident, RESIDENT_MIB[load.peers], " MiB")
        claims.check(f"parallel scrapes without an answer, {load}", agent.unanswered, 1)
        claims.check(f"memory that parallel scrapes add, {load}", agent.growth, GROWTH_MIB, " MiB")
        if load.peers == min(RESIDENT_MIB):
            claims.check(f"processor, {load}", usage.core, CORE_OF_3_PEERS, " %")


def _check_feedback(claims: Claims, result: Result, load: Load) -> None:
    """The feedback was real: it made network RTTs, the agent gave feedback in turn, and rejected none."""
    for _, agent in result.agents(load):
        claims.check(f"part of the replies without a network RTT, {load}", 1 - agent.reported, UNREPORTED)
        claims.check(f"part of the probes without feedback, {load}", 1 - agent.naming, UNREPORTED)
        claims.check(f"rejected feedback, {load}", agent.rejected, 1)
