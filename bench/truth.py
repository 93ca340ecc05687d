"""A tool's RTT compared with the reflector's own record of the same request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.report import quantile
from bench.tools.tool import Sample
from testkit.plan import Record

UNREAD_NS = 10_000
"""For a request that may have waited longer to be read, the reflector has no reliable reference: it was busy with
another request, or the host used its core. Between two reads the reflector needs 2 to 13 us. With a limit of 50 us half
of the p99 with 200 targets was the reference's own uncertainty (21 us, against 10 with a limit of 20 us)."""


@dataclass(frozen=True)
class Block:
    """The samples of one tool from `begin_ns` to `end_ns` (CLOCK_MONOTONIC); no other block has its targets."""

    tool: str
    condition: str
    targets: frozenset[str]
    begin_ns: int
    end_ns: int
    samples: Sequence[Sample]


@dataclass
class Errors:
    """Differences between RTTs and records in ns; how many requests have no RTT, and how many no reliable reference."""

    samples: list[int] = field(default_factory=list)
    without_rtt: int = 0
    without_reference: int = 0

    @property
    def part_unknown(self) -> float:
        """The part of the requests without an error, from 0 to 1; 1 when there was no request."""
        unknown = self.without_rtt + self.without_reference
        return unknown / (unknown + len(self.samples)) if self.samples else 1

    def quantiles(self) -> tuple[int, int, int]:
        """Return median, p99 and maximum, in ns."""
        return quantile(self.samples, 0.5), quantile(self.samples, 0.99), max(self.samples)


def errors_by_tool_and_condition(blocks: Iterable[Block], records: Sequence[Record]) -> dict[tuple[str, str], Errors]:
    """Match each sample with the record of its target that has the same number.

    A request counts when the reflector read it within its block: what was probed before the load is left out. So are
    requests without a reliable reference.
    """
    requests: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        requests[str(record.address)].append(record)
    errors: dict[tuple[str, str], Errors] = defaultdict(Errors)
    for block in blocks:
        found = errors[block.tool, block.condition]
        rtts = {(sample.address, sample.nth): sample.rtt_ns for sample in block.samples}
        for target in block.targets:
            for nth, record in enumerate(requests[target]):
                if not (block.begin_ns <= record.read_ns <= block.end_ns and record.written_ns):
                    continue
                if (target, nth) not in rtts:
                    found.without_rtt += 1
                elif record.unread_ns > UNREAD_NS:
                    found.without_reference += 1
                else:
                    found.samples.append(abs(rtts[target, nth] - record.turnaround_ns))
    return dict(errors)
