"""A tool's figure against the reflector's own record of the same request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.report import quantile
from bench.tools.tool import Figure
from testkit.plan import Record

UNREAD_NS = 20_000
"""A request that may have lain unread for longer has no truth: the reflector was at work on another, or its core was
the host's. What the reflector does between two looks takes 2 to 13 us. At 50 us half of the p99 with 200 targets was
the truth's own uncertainty (21 us, against 10)."""


@dataclass(frozen=True)
class Block:
    """What one tool said from `begin_ns` to `end_ns` (CLOCK_MONOTONIC), of targets that no other block has."""

    tool: str
    condition: str
    targets: frozenset[str]
    begin_ns: int
    end_ns: int
    figures: Sequence[Figure]


@dataclass
class Errors:
    """Distances between figures and truth in ns; how many requests have no figure, and how many no exact truth."""

    samples: list[int] = field(default_factory=list)
    without_figure: int = 0
    without_truth: int = 0

    @property
    def part_unknown(self) -> float:
        """Of the requests, those that have no error: 0 to 1, and 1 when there was none."""
        unknown = self.without_figure + self.without_truth
        return unknown / (unknown + len(self.samples)) if self.samples else 1

    def quantiles(self) -> tuple[int, int, int]:
        """Return median, p99 and maximum, in ns."""
        return quantile(self.samples, 0.5), quantile(self.samples, 0.99), max(self.samples)


def errors_by_tool_and_condition(blocks: Iterable[Block], records: Sequence[Record]) -> dict[tuple[str, str], Errors]:
    """Match each figure with the record of its target that has the same number.

    A request counts when the reflector read it within its block: what was probed before the load is left out. So is
    a request whose truth the reflector itself does not know.
    """
    requests: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        requests[str(record.address)].append(record)
    errors: dict[tuple[str, str], Errors] = defaultdict(Errors)
    for block in blocks:
        found = errors[block.tool, block.condition]
        rtts = {(figure.address, figure.nth): figure.rtt_ns for figure in block.figures}
        for target in block.targets:
            for nth, record in enumerate(requests[target]):
                if not (block.begin_ns <= record.read_ns <= block.end_ns and record.written_ns):
                    continue
                if (target, nth) not in rtts:
                    found.without_figure += 1
                elif record.unread_ns > UNREAD_NS:
                    found.without_truth += 1
                else:
                    found.samples.append(abs(rtts[target, nth] - record.turnaround_ns))
    return dict(errors)
