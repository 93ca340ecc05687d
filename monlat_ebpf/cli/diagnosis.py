"""Find which part of a probe's time is the largest, which part rose, and what that means. Pure; times in seconds.

A probe's time has three parts: the send delay (this node's stack and queue), the network RTT (both directions), and
the dwell (the peer's kernel). Without a report from the peer, the last two are known only as their sum, the RTT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final

from monlat_ebpf.model import Result
from monlat_ebpf.probing.one_way import WINDOW

RISEN_FACTOR: Final = 2.0
RISEN_AT_LEAST_SECONDS: Final = 50e-6
"""A smaller rise is not reported: on idle nodes, the parts vary by less from one probe to the next."""
RISEN_PART_OF_USUAL: Final = 0.2
"""The least rise as a part of the usual RTT: the usual dwell is the difference of two medians, each read from a
histogram with buckets 9 % wide."""
QUEUED_OVER_SECONDS: Final = 100e-6
"""A shorter send delay does not point to a queue. From the system call to the driver, the code alone takes 10 to 40 µs,
and for one probe in a hundred 90 µs, because caches are cold after a pause (`bench/send_delay`)."""
LOPSIDED_FACTOR: Final = 2.0
"""A direction is named when its queueing is more than this many times the other's."""


class Part(StrEnum):
    """A part of a probe's time."""

    SEND_DELAY = "send_delay"
    NETWORK = "network"
    DWELL = "dwell"
    NETWORK_AND_PEER = "network_and_peer"


NAMES: Final = {
    Part.SEND_DELAY: "send delay",
    Part.NETWORK: "network RTT",
    Part.DWELL: "dwell",
    Part.NETWORK_AND_PEER: "RTT",
}
MEANING: Final = {
    Part.SEND_DELAY: "this node's stack, and the queue before its device",
    Part.NETWORK: "the network, both directions",
    Part.DWELL: "the peer's kernel, and the queue before its device",
    Part.NETWORK_AND_PEER: "network and peer together: no agent at the peer reports our probes",
}
WITHOUT_QUEUE: Final = "this node's stack"
RISEN_MEANING: Final = {
    Part.SEND_DELAY: "a queue on this node",
    Part.NETWORK: "a slow network",
    Part.DWELL: "a slow peer",
    Part.NETWORK_AND_PEER: "a slow network or a slow peer",
}
LOST: Final = {
    Result.LOST_NETWORK: "in the network: the peer did not report in which direction",
    Result.LOST_FORWARD: "on the way to the peer: the peer did not receive them",
    Result.LOST_RETURN: "on the way back: the peer received them",
    Result.LOST_HOST: "on this node: no driver had them in time",
    Result.UNREACHABLE: "unreachable: an ICMP error came back",
    Result.SEND_ERROR: "not sent: the system call failed",
}


@dataclass(frozen=True, slots=True)
class Times:
    """The parts of one probe. None: not known."""

    result: Result
    send_delay_seconds: float | None = None
    rtt_seconds: float | None = None
    dwell_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual times: medians since the peer was added; the send delay's covers all peers. None: not known."""

    send_delay_seconds: float | None = None
    rtt_seconds: float | None = None
    network_rtt_seconds: float | None = None

    def of(self, part: Part) -> float | None:
        """Return the usual time of `part`. The usual dwell is the usual RTT minus the usual network RTT."""
        rtt, network = self.rtt_seconds, self.network_rtt_seconds
        dwell = None if rtt is None or network is None else max(rtt - network, 0.0)
        return {
            Part.SEND_DELAY: self.send_delay_seconds,
            Part.NETWORK: network,
            Part.DWELL: dwell,
            Part.NETWORK_AND_PEER: rtt,
        }[part]


@dataclass(frozen=True, slots=True)
class Queued:
    """Queueing of the last exchange, by direction."""

    forward_seconds: float
    return_seconds: float

    @property
    def largest(self) -> float:
        """The queueing of the slower direction."""
        return max(self.forward_seconds, self.return_seconds)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the last probes say. None: nothing.

    `largest` is the part with the largest median, `risen` the part that rose most above its usual time, and
    `lost_mostly` the most frequent result of the probes without a reply. `text` says all of it in a few sentences.
    """

    largest: Part | None
    risen: Part | None
    lost_mostly: Result | None
    text: str


def diagnosis(probes: Sequence[Times], usual: Usual, queued: Queued | None = None) -> Diagnosis:
    """Diagnose the last probes to one address of a peer."""
    recent = recent_parts(probes)
    lost: Counter[Result] = Counter(probe.result for probe in probes if probe.result is not Result.REPLY)
    lost_mostly = lost.most_common(1)[0][0] if lost else None
    sentences = []
    largest = risen = None
    if recent:
        largest = max(recent, key=lambda part: recent[part])
        risen = _risen(recent, usual)
        sentences.append(_largest_text(largest, recent, usual, risen=largest is risen))
        if risen is not None and risen is not largest:
            sentences.append(f"The {NAMES[risen]} rose to {_compared(risen, recent, usual)}: {RISEN_MEANING[risen]}.")
        if risen is Part.NETWORK and queued is not None and queued.largest >= RISEN_AT_LEAST_SECONDS:
            sentences.append(_direction_text(queued))
    if lost_mostly is not None:
        sentences.append(_lost_text(len(probes), lost, lost_mostly))
    return Diagnosis(largest, risen, lost_mostly, " ".join(sentences) or "No probe has ended yet.")


def recent_parts(probes: Sequence[Times]) -> dict[Part, float]:
    """Return the median of each part over the answered probes.

    Network and dwell come from the probes that the peer reported. If it reported none, they are one part.
    """
    answered = [
        (probe.send_delay_seconds or 0.0, probe.rtt_seconds, probe.dwell_seconds)
        for probe in probes
        if probe.result is Result.REPLY and probe.rtt_seconds is not None
    ]
    if not answered:
        return {}
    parts = {Part.SEND_DELAY: median(send_delay for send_delay, _, _ in answered)}
    reported = [(rtt, dwell) for _, rtt, dwell in answered if dwell is not None]
    if reported:
        parts[Part.NETWORK] = median(rtt - dwell for rtt, dwell in reported)
        parts[Part.DWELL] = median(dwell for _, dwell in reported)
    else:
        parts[Part.NETWORK_AND_PEER] = median(rtt for _, rtt, _ in answered)
    return parts


def duration(seconds: float) -> str:
    """Write a time with three digits and its unit: 43.1 µs, 1.27 ms, 2.05 s."""
    for unit, factor in (("µs", 1e6), ("ms", 1e3)):
        value = seconds * factor
        if abs(value) < 999.5:
            decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
            return f"{value:.{decimals}f} {unit}"
    return f"{seconds:.2f} s"


def _risen(recent: dict[Part, float], usual: Usual) -> Part | None:
    margin = max(RISEN_AT_LEAST_SECONDS, RISEN_PART_OF_USUAL * (usual.rtt_seconds or 0.0))
    above = {
        part: now - before
        for part, now in recent.items()
        if (before := usual.of(part)) is not None
        and now > RISEN_FACTOR * before
        and now - before > margin
        and not _is_without_queue(part, now)
    }
    return max(above, key=lambda part: above[part], default=None)


def _is_without_queue(part: Part, seconds: float) -> bool:
    return part is Part.SEND_DELAY and seconds <= QUEUED_OVER_SECONDS


def _largest_text(largest: Part, recent: dict[Part, float], usual: Usual, *, risen: bool) -> str:
    share = round(100 * recent[largest] / (sum(recent.values()) or 1.0))
    meaning = WITHOUT_QUEUE if _is_without_queue(largest, recent[largest]) else MEANING[largest]
    means = f"{RISEN_MEANING[largest]} ({meaning})" if risen else meaning
    return f"The largest part is the {NAMES[largest]}, {_compared(largest, recent, usual)}, {share} % of all: {means}."


def _compared(part: Part, recent: dict[Part, float], usual: Usual) -> str:
    before = usual.of(part)
    return duration(recent[part]) + (f" (usually {duration(before)})" if before is not None else "")


def _direction_text(queued: Queued) -> str:
    forward, backward = queued.forward_seconds, queued.return_seconds
    if forward > LOPSIDED_FACTOR * backward:
        where = "on the way to the peer"
    elif backward > LOPSIDED_FACTOR * forward:
        where = "on the way back"
    else:
        where = "in both directions"
    return (
        f"Packets wait in queues {where}: {duration(forward)} forward and {duration(backward)} back, "
        f"above the minimum of the last {WINDOW} exchanges."
    )


def _lost_text(ended: int, lost: Counter[Result], mostly: Result) -> str:
    some = f"{lost[mostly]} of them " if lost[mostly] < lost.total() else ""
    return f"Of the last {ended} probes {lost.total()} had no reply, {some}{LOST[mostly]}."
