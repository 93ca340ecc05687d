"""The summary at the end of a ping. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.model import Address, Family, Result
from monlat_ebpf.ping.events import Ended


class TimesDocument(TypedDict):
    """Seconds, null when there was no sample. The quantiles are samples, by nearest rank."""

    min: float | None
    p50: float | None
    p99: float | None
    max: float | None


class ProbeDocument(TypedDict):
    """One probe. `error` is "" and `error_from` null where there was no error, or its sender was not seen."""

    sequence: int
    result: str
    rtt_seconds: float | None
    send_delay_seconds: float | None
    user_rtt_seconds: float | None
    error: str
    error_from: str | None


class SummaryDocument(TypedDict):
    """All probes; `sent == sum(results) + in_flight`, and `lost` is every result but replies."""

    sent: int
    replies: int
    lost: int
    results: dict[str, int]
    in_flight: int
    late: int
    duplicates: int
    rtt_seconds: TimesDocument
    send_delay_seconds: TimesDocument
    user_rtt_seconds: TimesDocument


class PingDocument(TypedDict):
    """What --json prints; `source_reason` is "" when the source is the first choice."""

    host: str
    address: str
    family: str
    source: str
    source_reason: str
    probes: list[ProbeDocument]
    summary: SummaryDocument


@dataclass(frozen=True, slots=True)
class Head:
    """What is known before the first probe is sent."""

    host: str
    address: Address
    source: str
    source_reason: str


@dataclass(frozen=True, slots=True)
class Times:
    """Samples in nanoseconds."""

    samples: tuple[int, ...]

    def quantile(self, q: float) -> int | None:
        """Return the smallest sample that a part of `q` (above 0, to 1) of all samples does not exceed."""
        if not self.samples:
            return None
        return sorted(self.samples)[math.ceil(q * len(self.samples)) - 1]

    def document(self) -> TimesDocument:
        """Return them as --json shows them."""
        return {
            "min": seconds_of(min(self.samples, default=None)),
            "p50": seconds_of(self.quantile(0.50)),
            "p99": seconds_of(self.quantile(0.99)),
            "max": seconds_of(max(self.samples, default=None)),
        }


def seconds_of(nanoseconds: int | None) -> float | None:
    """Return seconds."""
    return None if nanoseconds is None else nanoseconds / NANOSECONDS_PER_SECOND


def summary(ended: Sequence[Ended], *, sent: int, in_flight: int, late: int, duplicates: int) -> SummaryDocument:
    """Add up `ended`; the other counts are the prober's and the kernel's."""
    results = {result.value: 0 for result in Result}
    for probe in ended:
        results[probe.result] += 1
    replies = results[Result.REPLY]
    return {
        "sent": sent,
        "replies": replies,
        "lost": len(ended) - replies,
        "results": results,
        "in_flight": in_flight,
        "late": late,
        "duplicates": duplicates,
        "rtt_seconds": _times([probe.rtt_ns for probe in ended]),
        "send_delay_seconds": _times([probe.send_delay_ns for probe in ended]),
        "user_rtt_seconds": _times([probe.user_rtt_ns for probe in ended]),
    }


def document(head: Head, ended: Sequence[Ended], sums: SummaryDocument) -> PingDocument:
    """Return what --json prints, with the probes in the order in which they were sent."""
    return {
        "host": head.host,
        "address": str(head.address),
        "family": Family.of(head.address).value,
        "source": head.source,
        "source_reason": head.source_reason,
        "probes": [_probe(probe) for probe in sorted(ended, key=lambda probe: probe.sequence)],
        "summary": sums,
    }


def _times(samples: Sequence[int | None]) -> TimesDocument:
    return Times(tuple(sample for sample in samples if sample is not None)).document()


def _probe(probe: Ended) -> ProbeDocument:
    return {
        "sequence": probe.sequence,
        "result": probe.result.value,
        "rtt_seconds": seconds_of(probe.rtt_ns),
        "send_delay_seconds": seconds_of(probe.send_delay_ns),
        "user_rtt_seconds": seconds_of(probe.user_rtt_ns),
        "error": probe.error,
        "error_from": None if probe.error_from is None else str(probe.error_from),
    }
