"""The result of bench/precision: as a table in the terminal, as Markdown, and as claims that hold or fail."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.report import Claims, print_table, quantile
from bench.tools.tool import USER
from bench.truth import Errors, quantiles_of

MONLAT = "monlat"
COLUMNS = ("median", "p99", "maximum")
LIMITS = {"median": 0.4, "p99": 0.7}
"""Of the smaller of ping's and fping's. A maximum is one probe, so chance decides it: it is printed, and no claim."""
BED, UNCERTAINTY = "the bed's own part of every RTT", "uncertainty of the truth"
UNCERTAINTY_US = 10
"""The limit on the distance between the truth and the second instrument, for COVERAGE of the requests."""
COVERAGE = 0.95
"""As usual for an uncertainty: JCGM 100:2008 (GUM), section 6.2."""


@dataclass(frozen=True)
class Contender:
    """A tool, its version, and who stamps request and reply."""

    name: str
    version: str
    stamps: tuple[str, str]


@dataclass(frozen=True)
class Result:
    """`errors` has no entry where a condition does not apply to a tool; `where` is machine and kernel.

    `second` names the instrument, no contender, whose errors are the uncertainty of the truth.
    """

    contenders: Sequence[Contender]
    conditions: Sequence[str]
    errors: Mapping[tuple[str, str], Errors]
    where: str
    second: str

    def rows(self) -> Iterator[tuple[Contender, str, Errors]]:
        """Yield the errors by condition, then by tool."""
        for condition in self.conditions:
            for contender in self.contenders:
                found = self.errors.get((contender.name, condition))
                if found is not None and found.samples:
                    yield contender, condition, found

    def uncertainty(self, condition: str) -> Errors:
        """Return the distances between the truth and the second instrument."""
        return self.errors.get((self.second, condition), Errors())

    def bed(self, condition: str) -> list[int]:
        """Return the bed's own part, of the requests of all tools."""
        return [
            part
            for (name, of), found in self.errors.items()
            if of == condition and name != self.second
            for part in found.bed
        ]

    def of_the_bed(self) -> Iterator[tuple[str, str, Sequence[int]]]:
        """Yield what is known of the bed itself: a title, a condition and samples in ns."""
        for title, samples_of in ((BED, self.bed), (UNCERTAINTY, lambda of: self.uncertainty(of).samples)):
            for condition in self.conditions:
                if samples := samples_of(condition):
                    yield title, condition, samples


def print_result(result: Result) -> None:
    """Print a line a tool and condition."""
    rows = [
        (
            *(contender.name, condition, str(len(found.samples))),
            *(str(found.without_rtt), str(found.without_reference), *microseconds(found.samples, 1)),
        )
        for contender, condition, found in result.rows()
    ]
    rows += [
        (title, condition, str(len(samples)), "", "", *microseconds(samples, 1))
        for title, condition, samples in result.of_the_bed()
    ]
    print_table(("error in us", "", "probes", "no RTT", "no reference", *COLUMNS), rows)
    print(result.where)


def markdown(result: Result) -> str:
    """Return a table with a line a tool and a column a condition, and how it was made."""
    cells = {(each.name, condition): _cell(found.samples) for each, condition, found in result.rows()}
    cells |= {(title, condition): _cell(samples) for title, condition, samples in result.of_the_bed()}

    def row(title: str) -> str:
        return " | ".join(cells.get((title, condition), "n/a") for condition in result.conditions)

    lines = [
        "| | request, reply stamped by | " + " | ".join(result.conditions) + " |",
        "|---|---|" + "---:|" * len(result.conditions),
    ]
    for each in result.contenders:
        name = f"**{each.name}**" if each.name == MONLAT else each.name
        by = ", ".join(each.stamps)
        lines.append(f"| {name} {each.version} | {by} | {row(each.name)} |")
    lines += [f"| *{title}* | | {row(title)} |" for title in (BED, UNCERTAINTY)]
    sizes = [len(found.samples) for _, _, found in result.rows()]
    how = (
        "Distance between a tool's RTT and the truth in µs: median / p99 / maximum. Made by `bench/precision`, "
        f"{min(sizes)} to {max(sizes)} probes a cell, on {result.where}."
    )
    return "\n".join([*lines, "", how, ""])


def microseconds(samples: Sequence[int], digits: int) -> tuple[str, ...]:
    return tuple(f"{nanoseconds / 1e3:,.{digits}f}" for nanoseconds in quantiles_of(samples))


def _cell(samples: Sequence[int]) -> str:
    return " / ".join(microseconds(samples, 0))


def judge(result: Result, idle: str) -> int:
    """Print the claims; return 1 when one does not hold."""
    claims = Claims()
    stamped_by_user_space = [each.name for each in result.contenders if each.stamps == (USER, USER)]
    for condition in result.conditions:
        _check_truth(claims, result, condition)
        found = result.errors.get((MONLAT, condition), Errors())
        claims.check(f"part of monlat's probes without RTT or reference, {condition}", found.part_unknown, 0.1)
        if not found.samples:
            continue
        ours = found.quantiles()
        if condition != idle:
            best = min(
                theirs.quantiles()[1] for name in stamped_by_user_space if (theirs := _of(result, name, condition))
            )
            claims.check(f"p99 of monlat / of the best that stamps in user space, {condition}", ours[1] / best, 0.1)
        others = [theirs.quantiles() for name in ("ping", "fping") if (theirs := _of(result, name, condition))]
        for column, limit in LIMITS.items() if others else ():
            index = COLUMNS.index(column)
            smaller = min(quantiles[index] for quantiles in others)
            claims.check(
                f"{column} of monlat / the smaller of ping and fping, {condition}", ours[index] / smaller, limit
            )
    return claims.exit_status


def _check_truth(claims: Claims, result: Result, condition: str) -> None:
    second = result.uncertainty(condition)
    claims.check(f"part of the second instrument's probes without RTT or truth, {condition}", second.part_unknown, 0.1)
    distances = second.samples
    uncertainty = quantile(distances, COVERAGE) / 1e3 if distances else math.inf
    claims.check(f"uncertainty of the truth, at 95 % coverage, {condition}", uncertainty, UNCERTAINTY_US, " us")
    wrong = sum(part < 0 for part in result.bed(condition))
    claims.check(f"requests whose RTT at the device is below the reflector's record, {condition}", wrong, 1)


def _of(result: Result, name: str, condition: str) -> Errors | None:
    found = result.errors.get((name, condition))
    return found if found is not None and found.samples else None
