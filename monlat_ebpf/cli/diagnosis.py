"""Which part of a probe's time is the largest, which one rose, and what that means. Pure.

A probe's time has three parts: the send delay (this node's stack and queue), the network, both directions of it,
and the dwell (the peer's kernel). Where the peer's agent tells nothing, the last two are one.
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
RISEN_AT_LEAST_US: Final = 50.0
"""What is worth a word: idle nodes vary by less, from one probe to the next."""
RISEN_PART_OF_USUAL: Final = 0.2
"""Of the usual round trip: the usual dwell is a difference of two medians, each read from buckets 9 % wide."""
LOPSIDED_FACTOR: Final = 2.0
"""One direction's queueing over the other's, before it is said to be that direction's."""


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
    Part.SEND_DELAY: "this node's own stack, and the queue before its device",
    Part.NETWORK: "the network, both directions of it",
    Part.DWELL: "the peer's kernel, and the queue before its device",
    Part.NETWORK_AND_PEER: "network and peer, which cannot be told apart as no agent there tells of our probes",
}
RISEN_MEANING: Final = {
    Part.SEND_DELAY: "a queue on this node",
    Part.NETWORK: "a slow network",
    Part.DWELL: "a slow peer",
    Part.NETWORK_AND_PEER: "a slow network or a slow peer",
}
LOST: Final = {
    Result.LOST_NETWORK: "in the network, in which direction nobody told",
    Result.LOST_FORWARD: "on the way there: the peer did not see them",
    Result.LOST_RETURN: "on the way back: the peer saw them",
    Result.LOST_HOST: "on this node: no driver had them in time",
    Result.UNREACHABLE: "unreachable: an ICMP error came back",
    Result.SEND_ERROR: "not sent: the system call failed",
}


@dataclass(frozen=True, slots=True)
class Times:
    """The parts of one probe in microseconds, None where not known."""

    result: Result
    send_delay_us: float | None = None
    rtt_us: float | None = None
    dwell_us: float | None = None


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual: medians in microseconds since the peer came, of the send delay to any peer. None: not known."""

    send_delay_us: float | None = None
    rtt_us: float | None = None
    network_us: float | None = None

    def of(self, part: Part) -> float | None:
        """Return the usual of `part`; of the dwell what the RTT has and the network does not explain."""
        if part is Part.DWELL:
            known = self.rtt_us is not None and self.network_us is not None
            return max((self.rtt_us or 0) - (self.network_us or 0), 0.0) if known else None
        return {
            Part.SEND_DELAY: self.send_delay_us,
            Part.NETWORK: self.network_us,
            Part.NETWORK_AND_PEER: self.rtt_us,
        }[part]


@dataclass(frozen=True, slots=True)
class Queued:
    """Queueing of the last exchange in microseconds, by direction."""

    forward_us: float
    return_us: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`largest` of the last probes' parts by median, and `risen`, what rose most above its usual; None: nothing.

    `lost_mostly` is how most of those that were not answered ended. `text` says it all in a sentence or two.
    """

    largest: Part | None
    risen: Part | None
    lost_mostly: Result | None
    text: str


def diagnosis(probes: Sequence[Times], usual: Usual, queued: Queued | None = None) -> Diagnosis:
    """Return what the last probes to one address of a peer say."""
    recent = recent_parts(probes)
    lost: Counter[Result] = Counter(probe.result for probe in probes if probe.result is not Result.REPLY)
    lost_mostly = lost.most_common(1)[0][0] if lost else None
    said = []
    largest = risen = None
    if recent:
        largest = max(recent, key=lambda part: recent[part])
        risen = _risen(recent, usual)
        said.append(_largest_text(largest, recent, usual, risen=largest is risen))
        if risen is not None and risen is not largest:
            said.append(f"What rose is the {NAMES[risen]}, {_compared(risen, recent, usual)}: {RISEN_MEANING[risen]}.")
        if risen is Part.NETWORK and queued is not None:
            said.append(_direction_text(queued))
    if lost_mostly is not None:
        said.append(_lost_text(len(probes), lost, lost_mostly))
    return Diagnosis(largest, risen, lost_mostly, " ".join(filter(None, said)) or "No probe has ended yet.")


def recent_parts(probes: Sequence[Times]) -> dict[Part, float]:
    """Return the median of each part over the answered probes; split, where the peer told of any of them."""
    answered = [probe for probe in probes if probe.result is Result.REPLY and probe.rtt_us is not None]
    if not answered:
        return {}
    parts = {Part.SEND_DELAY: median(probe.send_delay_us or 0.0 for probe in answered)}
    told = [(probe.rtt_us or 0.0, probe.dwell_us) for probe in answered if probe.dwell_us is not None]
    if told:
        parts[Part.NETWORK] = median(rtt - dwell for rtt, dwell in told)
        parts[Part.DWELL] = median(dwell for _, dwell in told)
    else:
        parts[Part.NETWORK_AND_PEER] = median(probe.rtt_us or 0.0 for probe in answered)
    return parts


def duration(microseconds: float) -> str:
    """Write a time with three digits and its unit: 43.1 µs, 1.27 ms, 2.05 s."""
    for unit, factor in (("µs", 1.0), ("ms", 1e3)):
        if abs(microseconds) < 999.5 * factor:
            value = microseconds / factor
            decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
            return f"{value:.{decimals}f} {unit}"
    return f"{microseconds / 1e6:.2f} s"


def _risen(recent: dict[Part, float], usual: Usual) -> Part | None:
    margin = max(RISEN_AT_LEAST_US, RISEN_PART_OF_USUAL * (usual.rtt_us or 0.0))
    above = {
        part: now - before
        for part, now in recent.items()
        if (before := usual.of(part)) is not None and now > RISEN_FACTOR * before and now - before > margin
    }
    return max(above, key=lambda part: above[part], default=None)


def _largest_text(largest: Part, recent: dict[Part, float], usual: Usual, *, risen: bool) -> str:
    share = round(100 * recent[largest] / (sum(recent.values()) or 1.0))
    means = f"{RISEN_MEANING[largest]} ({MEANING[largest]})" if risen else MEANING[largest]
    return f"The largest part is the {NAMES[largest]}, {_compared(largest, recent, usual)}, {share} % of all: {means}."


def _compared(part: Part, recent: dict[Part, float], usual: Usual) -> str:
    before = usual.of(part)
    return duration(recent[part]) + (f" (usually {duration(before)})" if before is not None else "")


def _direction_text(queued: Queued) -> str:
    forward, backward = queued.forward_us, queued.return_us
    if forward > LOPSIDED_FACTOR * backward:
        where = "on the way there"
    elif backward > LOPSIDED_FACTOR * forward:
        where = "on the way back"
    else:
        where = "in both directions"
    return (
        f"It waits {where}: {duration(forward)} there and {duration(backward)} back, "
        f"above the least of the last {WINDOW}."
    )


def _lost_text(ended: int, lost: Counter[Result], mostly: Result) -> str:
    some = f"{lost[mostly]} of them " if lost[mostly] < lost.total() else ""
    return f"Of the last {ended} probes {lost.total()} had no reply, {some}{LOST[mostly]}."
