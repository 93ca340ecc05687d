"""The result of bench/precision: as a table in the terminal, as Markdown, and as claims that hold or fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.report import Claims, print_table
from bench.tools.tool import USER
from bench.truth import Errors

MONLAT = "monlat"
COLUMNS = ("median", "p99", "maximum")
LIMITS = (0.4, 0.7, 1)
"""Of the smaller of ping's and fping's, in the order of COLUMNS; a maximum is one probe, so it is of the larger."""


@dataclass(frozen=True)
class Contender:
    """A tool, its version, and who stamps request and reply."""

    name: str
    version: str
    stamps: tuple[str, str]


@dataclass(frozen=True)
class Result:
    """`errors` has no entry where a condition does not apply to a tool; `where` is machine and kernel."""

    contenders: Sequence[Contender]
    conditions: Sequence[str]
    errors: Mapping[tuple[str, str], Errors]
    where: str

    def rows(self) -> Iterator[tuple[Contender, str, Errors]]:
        """Yield the errors by condition, then by tool."""
        for condition in self.conditions:
            for contender in self.contenders:
                found = self.errors.get((contender.name, condition))
                if found is not None and found.samples:
                    yield contender, condition, found


def print_result(result: Result) -> None:
    """Print a line a tool and condition."""
    rows = [
        (
            *(contender.name, condition, str(len(found.samples))),
            *(str(found.without_rtt), str(found.without_reference), *microseconds(found)),
        )
        for contender, condition, found in result.rows()
    ]
    print_table(("error in us", "", "probes", "no RTT", "no reference", *COLUMNS), rows)
    print(result.where)


def markdown(result: Result) -> str:
    """Return a table with a line a tool and a column a condition, and how it was made."""
    cells = {(each.name, condition): " / ".join(microseconds(found)) for each, condition, found in result.rows()}
    lines = [
        "| | request, reply stamped by | " + " | ".join(result.conditions) + " |",
        "|---|---|" + "---:|" * len(result.conditions),
    ]
    for each in result.contenders:
        name = f"**{each.name}**" if each.name == MONLAT else each.name
        by = ", ".join(each.stamps)
        row = " | ".join(cells.get((each.name, condition), "n/a") for condition in result.conditions)
        lines.append(f"| {name} {each.version} | {by} | {row} |")
    sizes = [len(found.samples) for _, _, found in result.rows()]
    how = (
        "Distance between a tool's RTT and the truth in µs: median / p99 / maximum. Made by `bench/precision`, "
        f"{min(sizes)} to {max(sizes)} probes a cell, on {result.where}."
    )
    return "\n".join([*lines, "", how, ""])


def microseconds(found: Errors) -> tuple[str, ...]:
    return tuple(f"{nanoseconds / 1e3:,.0f}" for nanoseconds in found.quantiles())


def judge(result: Result, idle: str) -> int:
    """Print the claims; return 1 when one does not hold."""
    claims = Claims()
    stamped_by_user_space = [each.name for each in result.contenders if each.stamps == (USER, USER)]
    for condition in result.conditions:
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
        for index, column in enumerate(COLUMNS):
            for_column = [quantiles[index] for quantiles in others]
            if for_column:
                which, bound = ("larger", max(for_column)) if column == "maximum" else ("smaller", min(for_column))
                what = f"{column} of monlat / the {which} of ping and fping, {condition}"
                claims.check(what, ours[index] / bound, LIMITS[index])
    return claims.exit_status


def _of(result: Result, name: str, condition: str) -> Errors | None:
    found = result.errors.get((name, condition))
    return found if found is not None and found.samples else None
