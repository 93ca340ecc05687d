"""The result of bench/losses: what monlat reported beside what the kernel's own counters say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from monlat_ebpf.abi.layout import UNMATCHED_REASONS

LOSSES = ("lost_host", "lost_network", "lost_forward", "lost_return", "unreachable")
NOT_OF_A_REPLY = "not_transmitted"  # of the unmatched: a reply that counts, without an RTT


@dataclass(frozen=True)
class Report:
    """What an agent shows: counts by result and by reason; `stamps` by device and who stamped the reply."""

    sent: int
    results: Mapping[str, int]
    in_flight: int
    late: int
    duplicates: int
    unmatched: Mapping[str, int]
    skipped: int
    stamps: Mapping[str, int]

    @property
    def unseen(self) -> int:
        """Return how many requests left without a stamp and were answered."""
        return self.unmatched[NOT_OF_A_REPLY]


@dataclass(frozen=True)
class Side:
    """Counters of one namespace: echoes that passed netfilter, and drops of its queue and of its device."""

    requests: int
    replies: int
    queue_drops: int
    device_drops: int


class Line(NamedTuple):
    """Two numbers that must be equal, except that up to `more` more, or up to `fewer` fewer, may be reported."""

    what: str
    reported: int
    counted: int
    more: int = 0
    fewer: int = 0

    @property
    def holds(self) -> bool:
        return -self.fewer <= self.reported - self.counted <= self.more


def lines(report: Report, near: Side, far: Side) -> Iterator[Line]:
    """Yield all that must be equal.

    A late reply was delivered, so its probe is in no counter of drops. Such a probe is `lost_host` where its driver
    got it after the deadline, else `lost_network`. The kernel runs no hook while another one runs on the same core, so
    a few requests leave unseen. Such a probe is a reply without an RTT, which is counted, or `lost_host` where it was
    lost behind this host. So no more losses may count as this host's by mistake than replies show to have left unseen.
    """
    results, late, unseen = report.results, report.late, report.unseen
    near_drops, far_drops = near.queue_drops + near.device_drops, far.queue_drops + far.device_drops
    lost = sum(results.get(result, 0) for result in LOSSES)
    unmatched = sum(report.unmatched[reason] for reason in UNMATCHED_REASONS if reason != NOT_OF_A_REPLY)
    after_queue = sum(results.get(result, 0) for result in LOSSES if result != "lost_host")
    yield Line("sent = results + in flight", report.sent, sum(results.values()) + report.in_flight)
    yield Line("sent = requests of this host", report.sent - results.get("send_error", 0), near.requests)
    yield Line("requests of this host - dropped = at the far end", near.requests - near_drops, far.requests)
    yield Line("requests at the far end = its replies", far.requests, far.replies)
    yield Line("replies of the far end - dropped = at this host", far.replies - far_drops, near.replies)
    yield Line("reported replies and late = at this host", results.get("reply", 0) + late, near.replies)
    yield Line("reported losses - late = dropped", lost - late, near_drops + far_drops)
    yield Line(
        "lost_host = dropped by the queue of this host", results.get("lost_host", 0), near.queue_drops, late + unseen
    )
    yield Line("other losses = dropped behind it", after_queue, near.device_drops + far_drops, late, unseen)
    yield Line("duplicates and unmatched packets", report.duplicates + unmatched, 0)


def failures(report: Report, near: Side, far: Side) -> list[str]:
    """Return what does not hold; a bench whose queues dropped nothing has shown nothing."""
    wrong = [line.what for line in lines(report, near, far) if not line.holds]
    for name, side in (("this host", near), ("the far end", far)):
        if side.queue_drops == 0:
            wrong.append(f"the queue of {name} dropped nothing: it was not saturated")
    return wrong
