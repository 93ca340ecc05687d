"""A tool's RTT compared with the truth, which two instruments enclose.

The packet capture stamps a request before the driver takes it, and the reply after the driver has handed it over: the
RTT at the wire is no longer than that. The reflector stamps after it has read, and before it writes: the RTT at the
wire is no shorter. What lies between is the test bed's own part: the TUN device, the reflector's reading and writing,
and the time for which the reflector had no core. A tool cannot know it, and every tool has it in its RTT. So the
capture is the truth, and the bed's part is told apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.report import quantile
from bench.tools.tool import Sample
from testkit.plan import Record


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
    """Differences between RTTs and the truth in ns; how many requests have no RTT, and how many no truth.

    `bed` has the bed's own part of every request with a truth. It is never negative unless an instrument is wrong.
    """

    samples: list[int] = field(default_factory=list)
    without_rtt: int = 0
    without_reference: int = 0
    bed: list[int] = field(default_factory=list)

    @property
    def part_unknown(self) -> float:
        """The part of the requests without an error, from 0 to 1; 1 when there was no request."""
        unknown = self.without_rtt + self.without_reference
        return unknown / (unknown + len(self.samples)) if self.samples else 1

    def quantiles(self) -> tuple[int, int, int]:
        """Return median, p99 and maximum, in ns."""
        return quantiles_of(self.samples)


def quantiles_of(samples: Sequence[int]) -> tuple[int, int, int]:
    """Return median, p99 and maximum."""
    return quantile(samples, 0.5), quantile(samples, 0.99), max(samples)


def errors_by_tool_and_condition(
    blocks: Iterable[Block], records: Sequence[Record], wire: Mapping[tuple[str, int], int]
) -> dict[tuple[str, str], Errors]:
    """Match each sample with the RTT at the wire, and the reflector's record, of the same number to its target.

    A request counts when the reflector read it within its block: what was probed before the load is left out.
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
                if (target, nth) not in wire:
                    found.without_reference += 1
                    continue
                found.bed.append(wire[target, nth] - record.turnaround_ns)
                if (target, nth) not in rtts:
                    found.without_rtt += 1
                else:
                    found.samples.append(abs(rtts[target, nth] - wire[target, nth]))
    return dict(errors)
