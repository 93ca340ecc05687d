"""A diagnosis opens when two windows in a row have the finding, and closes after three without it. Pure.

One bad window is an event, not a state: a route that changes, a queue that fills. Two events of different kinds in a
row are no state either: losses in one window and long times in the next do not open a diagnosis. And a fault that
misses one window, by chance or because agents did not answer, has not ended. The same holds for the part that one
agent alone can see: the kernel of its node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from monlat_ebpf.diagnosis.findings import STACK_SYMPTOMS, Element, Evidence, Finding, Kind, Part, Symptom, explains

OPENS_AFTER: Final = 2
CLOSES_AFTER: Final = 3
SAME_KIND: Final = (
    frozenset({Symptom.LOSS, Symptom.HOST_LOSS}),
    frozenset({Symptom.SLOW, Symptom.DWELL}),
    frozenset({Symptom.SKIPPED, Symptom.LATE, Symptom.NO_ANSWER}),
)
"""Symptoms that one fault may show in turn: lost packets, long times, an agent that runs too rarely."""
MOST_PAIRS: Final = 16
"""More open pairs than this are shown as one undetermined diagnosis: a list of them names nothing."""


class State(StrEnum):
    """SUSPECTED: found in too few windows. OPEN: found. CLOSING: open, and not found in the last windows."""

    SUSPECTED = "suspected"
    OPEN = "open"
    CLOSING = "closing"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding over time. `since` is the number of the window in which it was first found."""

    finding: Finding
    state: State
    since: int


@dataclass(slots=True)
class _Course:
    finding: Finding
    since: int
    found: dict[frozenset[Symptom], int] = field(default_factory=dict)
    """For each kind of symptom in the last window, in how many windows in a row it was found."""
    missed: int = 0
    is_open: bool = False
    of_stack: tuple[Evidence, ...] = ()
    """The last evidence of the node's own kernel, of window `stack_number`."""
    stack_number: int = 0

    def find(self, number: int, finding: Finding) -> None:
        symptoms = {each.symptom for each in finding.evidence}
        self.found = {kind: self.found.get(kind, 0) + 1 for kind in SAME_KIND if kind & symptoms}
        self.missed = 0
        if Part.STACK in finding.parts:
            self.of_stack = tuple(each for each in finding.evidence if each.symptom in STACK_SYMPTOMS)
            self.stack_number = number
        elif self.of_stack and number - self.stack_number < CLOSES_AFTER:
            parts, evidence = finding.parts | {Part.STACK}, finding.evidence + self.of_stack
            finding = replace(finding, parts=parts, evidence=evidence)
        if finding.element.kind is Kind.AGENT:  # a starved agent may be silent in some windows
            finding = replace(finding, parts=finding.parts | self.finding.parts)
        self.finding = finding

    @property
    def state(self) -> State:
        if not self.is_open:
            return State.SUSPECTED
        return State.CLOSING if self.missed else State.OPEN


class Hysteresis:
    """The courses of all elements that were found lately."""

    def __init__(self) -> None:
        self._courses: dict[Element, _Course] = {}

    def update(self, number: int, findings: Iterable[Finding], zones: Mapping[str, str]) -> tuple[Diagnosis, ...]:
        """Take in the findings of window `number`; return all diagnoses, open ones first.

        `zones` has the zone of each node. A pair is not opened while an open diagnosis explains it: a node's fault may
        look like a pair's in one window.
        """
        found = {finding.element: finding for finding in findings}
        for element, finding in found.items():
            self._courses.setdefault(element, _Course(finding, number)).find(number, finding)
        for element in list(self._courses.keys() - found.keys()):
            course = self._courses[element]
            course.found = {}
            course.missed += 1
            if not course.is_open or course.missed >= CLOSES_AFTER:
                del self._courses[element]
        for element, course in self._courses.items():
            if max(course.found.values(), default=0) >= OPENS_AFTER and not self._is_explained(element, zones):
                course.is_open = True
        courses = sorted(
            self._courses.values(), key=lambda each: (not each.is_open, -each.finding.confidence, each.finding.element)
        )
        return _summarized([Diagnosis(each.finding, each.state, each.since) for each in courses])

    def _is_explained(self, element: Element, zones: Mapping[str, str]) -> bool:
        return any(each.is_open and explains(other, element, zones) for other, each in self._courses.items())


def _summarized(diagnoses: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Join open pairs into one diagnosis where there are too many to name."""
    pairs = [each for each in diagnoses if each.finding.element.kind is Kind.PAIR and each.state is not State.SUSPECTED]
    if len(pairs) <= MOST_PAIRS:
        return tuple(diagnoses)
    evidence = [piece for each in pairs for piece in each.finding.evidence]
    joined = tuple(
        Evidence(
            symptom,
            seen_by=sum(each.seen_by for each in evidence if each.symptom is symptom),
            witnesses=sum(each.witnesses for each in evidence if each.symptom is symptom),
            shown=sum(each.shown for each in evidence if each.symptom is symptom),
            trials=sum(each.trials for each in evidence if each.symptom is symptom),
            windows=max(each.windows for each in evidence if each.symptom is symptom),
        )
        for symptom in sorted({each.symptom for each in evidence})
    )
    finding = Finding(Element(Kind.UNDETERMINED, ()), frozenset(), 0.0, joined)
    one = Diagnosis(finding, State.OPEN, min(each.since for each in pairs))
    return (one, *(each for each in diagnoses if each not in pairs))
