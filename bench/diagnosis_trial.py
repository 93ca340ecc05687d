"""Trials of bench/diagnosis: a simulated cluster, a fault after some windows, and what each algorithm says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from resource import RUSAGE_SELF, getrusage
from time import process_time

from bench.diagnosis_cluster import Cluster
from bench.diagnosis_faults import Broken, Mode, broken, is_undecidable
from bench.diagnosis_life import Life
from bench.diagnosis_rivals import Observer, Rival, Settings
from monlat_ebpf.diagnosis.diagnoser import Diagnoser, Report
from monlat_ebpf.diagnosis.findings import Element, Kind, Part
from monlat_ebpf.diagnosis.history import SPANS
from monlat_ebpf.diagnosis.hysteresis import State

WARM_UP_WINDOWS = 12
FAULT_WINDOWS = 40
WINDOWS_AFTER = 60
OURS = "monlat"

Rivals = Sequence[tuple[type[Rival], Settings]]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is simulated: a fault of this kind, or none, in a cluster of `size` nodes that probe `degree` others."""

    kind: str
    mode: Mode
    severity: float
    size: int
    degree: int
    zones: int = 3


@dataclass(slots=True)
class Outcome:
    """What one algorithm said. `opened` has the number of the window of the fault, from 1, in which each opened."""

    truth: dict[Element, frozenset[Part] | None]
    opened: dict[Element, int] = field(default_factory=dict)
    parts: dict[Element, frozenset[Part]] = field(default_factory=dict)
    undetermined: int = 0
    undecidable: int = 0

    @property
    def right(self) -> int:
        return sum(element in self.truth for element in self.opened)

    @property
    def false(self) -> int:
        return len(self.opened) - self.right

    @property
    def abstained(self) -> int:
        """Return how many faults were not named though something was said to be wrong."""
        return len(self.truth) - self.right if self.undetermined else 0

    def right_parts(self) -> tuple[int, int, int]:
        """Return (right, said, could be said) of the directions of the elements that were named rightly."""
        judged = [
            (self.parts[element], parts)
            for element, parts in self.truth.items()
            if parts is not None and self.parts.get(element) is not None
        ]
        own = {
            Part.STACK,
            Part.STARVED,
        }  # other parts may come with them: a stack that drops is a node that receives less
        right = sum(said == parts or bool(parts & said & own) for said, parts in judged)
        return right, sum(bool(said) for said, _ in judged), len(judged)


def named(report: Report) -> tuple[dict[Element, frozenset[Part]], int]:
    """Return the elements that are open, with their parts, and the number of open undetermined diagnoses."""
    open_now = [each.finding for each in report.diagnoses if each.state is not State.SUSPECTED]
    elements = {each.element: each.parts for each in open_now if each.element.kind is not Kind.UNDETERMINED}
    return elements, len(open_now) - len(elements)


def trial(setting: Setting, seed: str, rivals: Rivals, windows: int = FAULT_WINDOWS) -> dict[str, Outcome]:
    """Return the outcome for each algorithm, by its name (and settings, if it is given with several)."""
    cluster = Cluster(f"{seed} {setting}", setting.size, setting.degree, setting.zones)
    diagnoser, observer = Diagnoser(), Observer()
    others = {label(kind, settings): kind(settings) for kind, settings in rivals}
    nothing = Broken()
    faults = nothing
    if setting.kind != "none":
        faults = broken(setting.kind, setting.mode, setting.severity, cluster.ground, cluster.random)
    undecidable = int(is_undecidable(faults, cluster.ground))
    outcomes = {name: Outcome(faults.truth, undecidable=undecidable) for name in (OURS, *others)}
    for number in range(1 - WARM_UP_WINDOWS, windows + 1):
        window = cluster.window(faults if number > 0 else nothing)
        elements, undetermined = named(diagnoser.decide(window))
        seen = observer.observe(window) if others else None
        opened = {name: other.opened(seen) for name, other in others.items() if seen is not None}
        if number < 1:
            continue
        ours = outcomes[OURS]
        ours.undetermined += bool(undetermined)
        for element, parts in elements.items():
            ours.opened.setdefault(element, number)
            ours.parts[element] = parts
        for name, of_other in opened.items():
            for element in of_other:
                outcomes[name].opened.setdefault(element, number)
    return outcomes


@dataclass(frozen=True, slots=True)
class Course:
    """In which window of a fault it was first named, and for how many after its end; None: it was not, or not then.

    `false` counts the other elements that were named, in the fault or after it.
    """

    named: int | None
    after: int | None
    false: int


def course(setting: Setting, seed: str) -> Course:
    """Return when a fault of `FAULT_WINDOWS` is named, and how long after its end."""
    cluster = Cluster(f"{seed} {setting}", setting.size, setting.degree, setting.zones)
    diagnoser = Diagnoser()
    faults = broken(setting.kind, setting.mode, setting.severity, cluster.ground, cluster.random)
    others: set[Element] = set()
    windows: list[int] = []
    for number in range(1 - WARM_UP_WINDOWS, FAULT_WINDOWS + WINDOWS_AFTER + 1):
        elements, _ = named(diagnoser.decide(cluster.window(faults if 0 < number <= FAULT_WINDOWS else Broken())))
        others |= elements.keys() - faults.truth.keys()
        windows += [number] * bool(elements.keys() & faults.truth.keys())
    after = windows[-1] - FAULT_WINDOWS if FAULT_WINDOWS in windows else None
    return Course(windows[0] if windows else None, after, len(others))


def label(kind: type[Rival], settings: Settings) -> str:
    return f"{kind.name} {settings.bad_loss:g} {settings.threshold:g}"


@dataclass(slots=True)
class Quiet:
    """Windows without a fault: how many, and how many diagnoses opened in them, by algorithm."""

    windows: int
    opened: dict[str, int]
    what: list[str] = field(default_factory=list)


def quiet(size: int, degree: int, seed: str, windows: int, rivals: Rivals) -> Quiet:
    """Count the diagnoses that open in a cluster without a fault; an open one again only after it has closed."""
    cluster = Life(Cluster(f"{seed} quiet", size, degree), seed)
    diagnoser, observer = Diagnoser(), Observer()
    others = {label(kind, settings): kind(settings) for kind, settings in rivals}
    before: dict[str, set[Element]] = {name: set() for name in (OURS, "undetermined", *others)}
    result = Quiet(windows, dict.fromkeys(before, 0))
    for number in range(-WARM_UP_WINDOWS, windows):
        window = cluster.window()
        report = diagnoser.decide(window)
        open_now = {each.finding.element: each for each in report.diagnoses if each.state is not State.SUSPECTED}
        unnamed = {element for element in open_now if element.kind is Kind.UNDETERMINED}
        now: dict[str, set[Element]] = {OURS: set(open_now) - unnamed, "undetermined": unnamed}
        seen = observer.observe(window) if others else None
        now |= {name: other.opened(seen) for name, other in others.items() if seen is not None}
        if number >= 0:
            for name, elements in now.items():
                result.opened[name] += len(elements - before[name])
            result.what += [f"{number}: {open_now[element]}" for element in set(open_now) - before[OURS]]
        before = now
    return result


def cost_of_windows(size: int, degree: int, setting: Setting | None = None) -> tuple[list[float], float]:
    """Return the processor seconds of the last windows, with the fault of `setting`, and the peak memory in MiB."""
    cluster = Cluster(f"{size} {degree} time", size, degree)
    diagnoser = Diagnoser()
    faults = Broken()
    if setting is not None:
        faults = broken(setting.kind, setting.mode, setting.severity, cluster.ground, cluster.random)
    seconds = []
    for number in range(SPANS[-1] + 3):  # so many windows are looked at
        window = cluster.window(faults if number >= SPANS[-1] else Broken())
        begin = process_time()
        diagnoser.decide(window)
        seconds.append(process_time() - begin)
    return seconds[-3:], getrusage(RUSAGE_SELF).ru_maxrss / 1024
