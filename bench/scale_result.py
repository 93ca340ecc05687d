"""The result of bench/scale: what each program used under each load, as a table in the terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, median_low

from bench.report import print_table

MONLAT, FPING, PACED, SMOKEPING = "monlat", "fping", "fping, paced", "smokeping_prober"
FOR_FEEDBACK = (MONLAT, FPING)
"""The programs that are measured with feedback as well: it changes nothing for the others."""
MISSING = 0.05
"""The part of its one probe a second that a program may be short of."""


@dataclass(frozen=True, order=True)
class Load:
    """`peers` with one address each, or with one of each family; with feedback, every peer's agent probes us as well.

    Each address is probed once a second.
    """

    peers: int
    is_dual: bool = False
    has_feedback: bool = False

    @property
    def targets(self) -> int:
        """Addresses, and so probes a second."""
        return 2 * self.peers if self.is_dual else self.peers

    def __str__(self) -> str:
        stack = ", dual stack" if self.is_dual else ""
        return f"{self.peers:,} peers{stack}{', feedback' if self.has_feedback else ''}"


@dataclass(frozen=True)
class Usage:
    """What a program used in `seconds`, in which `probes` of its came to the peers.

    `processor_ns` is the run time of all its threads. Memory is in MiB: `resident` at the end, `peak` at most.
    `scrapes` has the seconds of each scrape, `failed_scrapes` those that had no answer. `own_count` is how many probes
    the program says it sent in its whole life, with how many came to the peers in that time; of a program that says so.
    """

    seconds: float
    probes: int
    processor_ns: int
    wake_ups: int
    resident: float
    peak: float
    scrapes: Sequence[float] = ()
    failed_scrapes: int = 0
    own_count: tuple[int, int] | None = None

    @property
    def core(self) -> float:
        """Share of a core, in per cent."""
        return self.processor_ns / self.seconds / 1e7

    @property
    def per_probe(self) -> float:
        """Processor time of a probe in µs; infinite when there was none."""
        return self.processor_ns / self.probes / 1e3 if self.probes else float("inf")

    @property
    def rate(self) -> float:
        """Probes a second."""
        return self.probes / self.seconds

    @property
    def wake_rate(self) -> float:
        """Wake-ups a second."""
        return self.wake_ups / self.seconds


def missing(load: Load, usage: Usage) -> float:
    """Return the part of the load's probes that a program did not send; below 0 when it sent more."""
    return 1 - usage.rate / load.targets


def most_missing(usage: Usage) -> float:
    """Return the part that may be missing: of a program that sends to all at once, a window may lack one round."""
    return max(MISSING, 1.1 / usage.seconds)


def is_short(load: Load, usage: Usage) -> bool:
    """Whether a program could not send all probes of the load."""
    return missing(load, usage) >= most_missing(usage)


@dataclass(frozen=True)
class AgentState:
    """What only an agent of monlat tells.

    Schedule lags are p50 and p99 in seconds, as upper edges of buckets: `lag` while it was scraped as usual,
    `lag_scraped` while it was scraped every second, None if that was not tried. `skipped` probes were never sent,
    `lost` ones had another result than a reply. `rejected` is feedback that was not used. `maps` is the kernel's memory
    in MiB; `growth` is how far parallel scrapes raised the memory above what it was before, and `unanswered` is how
    many of them failed. Of the replies, the part `reported` got a network RTT by feedback; of the probes, the part
    `naming` names a request of the peer.
    """

    lag: tuple[float, float]
    lag_scraped: tuple[float, float] | None
    skipped: int
    lost: int
    rejected: int
    maps: float
    growth: float
    unanswered: int = 0
    reported: float = 0.0
    naming: float = 0.0


@dataclass(frozen=True)
class Measured:
    """One program under one load in one round; `agent` for monlat alone."""

    usage: Usage
    agent: AgentState | None = None


@dataclass(frozen=True)
class Result:
    """`rounds` has each round's measurement, for the programs that a load was given to; `where` is the machine."""

    versions: Mapping[str, str]
    loads: Sequence[Load]
    rounds: Mapping[tuple[Load, str], Sequence[Measured]]
    where: str

    def usual(self, load: Load, program: str) -> Measured | None:
        """Return the round with the median processor time a second, the lower one of two; None if there is none."""
        measured = self.rounds.get((load, program), ())
        if not measured:
            return None
        middle = median_low(each.usage.core for each in measured)
        return next(each for each in measured if each.usage.core == middle)

    def multiple(self, load: Load, of: str = FPING) -> float | None:
        """Return monlat's processor time of a probe as a multiple of `of`'s in the same round: the median of all.

        Both send one probe a second to each address. What a program did not send makes it no cheaper so.
        """
        ours, theirs = self.rounds.get((load, MONLAT), ()), self.rounds.get((load, of), ())
        ratios = [one.usage.per_probe / other.usage.per_probe for one, other in zip(ours, theirs, strict=False)]
        return median(ratios) if ratios else None

    def agents(self, load: Load) -> list[tuple[Usage, AgentState]]:
        """Return what monlat used and told in each round."""
        return [(each.usage, each.agent) for each in self.rounds.get((load, MONLAT), ()) if each.agent]


def print_result(result: Result) -> None:
    """Print a line for each load and program, then what only the agents tell."""
    rows = []
    for load in result.loads:
        for program in result.versions:
            if measured := result.usual(load, program):
                rows.append((str(load), program, *_usage_cells(measured.usage)))
    print_table(("", "", "of a core", "a probe", "probes/s", "wake-ups/s", "RSS", "peak", "a scrape", "failed"), rows)
    rows = [
        (str(load), *_agent_cells(agent, result.multiple(load)))
        for load in result.loads
        for _, agent in result.agents(load)
    ]
    print_table(
        (
            *("monlat", "of fping's", "lag p50", "p99", "scraped each second p99", "skipped", "lost"),
            *("maps", "parallel scrapes", "feedback got", "feedback given", "rejected"),
        ),
        rows,
    )
    print(result.where)


def _usage_cells(usage: Usage) -> tuple[str, ...]:
    return (
        *(f"{usage.core:.2f} %", f"{usage.per_probe:.1f} us", f"{usage.rate:.1f}", f"{usage.wake_rate:.1f}"),
        *(f"{usage.resident:.1f} MiB", f"{usage.peak:.1f} MiB"),
        f"{median(usage.scrapes) * 1e3:.0f} ms" if usage.scrapes else "-",
        str(usage.failed_scrapes),
    )


def _agent_cells(agent: AgentState, multiple: float | None) -> tuple[str, ...]:
    return (
        "-" if multiple is None else f"{multiple:.2f} x",
        *(milliseconds(edge) for edge in agent.lag),
        milliseconds(agent.lag_scraped[1]) if agent.lag_scraped else "-",
        *(str(agent.skipped), str(agent.lost)),
        f"{agent.maps:.1f} MiB",
        f"+{agent.growth:.1f} MiB",
        *(f"{agent.reported:.1%}", f"{agent.naming:.1%}", str(agent.rejected)),
    )


def milliseconds(seconds: float) -> str:
    """Return three digits of an upper edge, with the unit that suits; `inf` of the last bucket's."""
    if math.isinf(seconds):
        return "inf"
    return f"{seconds * 1e3:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def markdown(result: Result) -> str:
    """Return a table with a line a load, and how it was made."""
    others = [program for program in result.versions if program != MONLAT]
    head = [
        *("at 1 Hz", f"**monlat** {result.versions.get(MONLAT, '')}"),
        *(f"{program} {result.versions[program]}" for program in others),
        *("monlat / fping", "monlat's RSS", "kernel memory", "wake-ups/s", "schedule lag p99", "skipped", "lost"),
    ]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for load in result.loads:
        ours = result.usual(load, MONLAT)
        if ours is None or ours.agent is None:
            continue
        cells = [str(load), *(_core_cell(load, result.usual(load, program)) for program in (MONLAT, *others))]
        multiple, lag = result.multiple(load), ours.agent.lag_scraped or ours.agent.lag
        cells += ["n/a" if multiple is None else f"{multiple:.1f}"]
        cells += [f"{ours.usage.resident:.0f} MiB", f"{ours.agent.maps:.1f} MiB", f"{ours.usage.wake_rate:.0f}"]
        cells += [f"≤ {milliseconds(lag[1])}", str(ours.agent.skipped), str(ours.agent.lost)]
        lines.append(f"| {' | '.join(cells)} |")
    seconds = [each.usage.seconds for measured in result.rounds.values() for each in measured]
    how = (
        "Share of a core, and processor time of a probe; of a program that could not send all, how many it sent. "
        "fping sends to all at once and sleeps for the rest of the second. `fping, paced` spreads its probes over the "
        f"second, as the others do. Made by `bench/scale`, {min(seconds):.0f} s a cell, on "
        f"{result.where}."
    )
    return "\n".join([*lines, "", how, ""])


def _core_cell(load: Load, measured: Measured | None) -> str:
    if measured is None:
        return "n/a"
    usage = measured.usage
    sent = f" ({usage.rate / load.targets:.0%} sent)" if is_short(load, usage) else ""
    return f"{usage.core:.{2 if usage.core < 10 else 0}f} %, {usage.per_probe:.0f} µs{sent}"
