"""The diagnoses as sentences, for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from monlat_ebpf.diagnosis.findings import Element, Evidence, Finding, Kind, Part, Symptom
from monlat_ebpf.diagnosis.hysteresis import Diagnosis, State

NOTHING: Final = "Nothing is known to be broken."
PARTS: Final = {
    Part.OUT: "what it sends",
    Part.IN: "what it receives",
    Part.STACK: "its kernel",
    Part.STARVED: "it runs too rarely, so what it measures does not count",
    Part.SILENT: "it does not answer, though its node does",
}
COUNTED: Final = {
    Symptom.LOSS: "{shown} of {trials} probes lost",
    Symptom.HOST_LOSS: "{shown} of {trials} probes lost in the host",
    Symptom.SLOW: "{shown} of {trials} network RTTs above the usual",
    Symptom.DWELL: "{shown} of {trials} answers took its kernel longer than usual",
    Symptom.SKIPPED: "{shown} of {trials} probes skipped",
    Symptom.LATE: "{shown} of {trials} probes sent late",
    Symptom.NO_ANSWER: "{shown} of {trials} probes to its node answered",
}
OF_AGENT: Final = frozenset({Symptom.SKIPPED, Symptom.LATE})


def render(diagnoses: Iterable[Diagnosis]) -> Iterator[str]:
    """Yield a line for each diagnosis that is open, and lines for its evidence; or one that says that there is none."""
    shown = [each for each in diagnoses if each.state is not State.SUSPECTED]
    if not shown:
        yield NOTHING
    for each in shown:
        yield f"{_title(each)}, since window {each.since}{_closing(each)}"
        for candidate in each.finding.candidates:
            yield f"  may be {name_of(candidate)}"
        for evidence in each.finding.evidence:
            yield f"  {evidence_text(evidence, each.finding.element)}"


def name_of(element: Element) -> str:
    """Return what an element is called."""
    first, second = (element.names * 2)[:2] if element.names else ("", "")
    match element.kind:
        case Kind.NODE:
            return f"node {first}"
        case Kind.AGENT:
            return f"agent on {first}"
        case Kind.PAIR:
            return f"between nodes {first} and {second}"
        case Kind.ZONE_PAIR if first == second:
            return f"within zone {first}" if first else "the whole network"
        case Kind.ZONE_PAIR:
            return f"between zones {first or '(unknown)'} and {second or '(unknown)'}"
        case Kind.UNDETERMINED:
            return "undetermined"


def evidence_text(evidence: Evidence, element: Element) -> str:
    """Return one symptom of an element, with its witnesses."""
    text = COUNTED[evidence.symptom].format(shown=evidence.shown, trials=evidence.trials)
    if evidence.symptom is Symptom.NO_ANSWER and element.kind is Kind.UNDETERMINED:
        return f"{evidence.shown} of {evidence.trials} agents do not answer"
    if evidence.windows > 1:
        text += f" in {evidence.windows} windows, without the worst of each pair"
    if evidence.usual_seconds is not None and evidence.now_seconds is not None:
        text += (
            f", typically {_milliseconds(evidence.now_seconds)} where {_milliseconds(evidence.usual_seconds)} is usual"
        )
    if evidence.symptom in OF_AGENT:
        return text
    witnesses = "peers" if element.kind in (Kind.NODE, Kind.AGENT) else "pairs of nodes"
    return f"{text}; seen by {evidence.seen_by} of {evidence.witnesses} {witnesses}"


def title_of(finding: Finding) -> str:
    """Return what is broken, with the parts of it that are known."""
    element = finding.element
    if element.kind is Kind.UNDETERMINED:
        return "undetermined: too few witnesses to name the cause" if finding.candidates else "undetermined"
    names = PARTS | {
        Part.FORWARD: f"from {element.names[0]} to {element.names[-1]}",
        Part.RETURN: f"from {element.names[-1]} to {element.names[0]}",
    }
    parts = " and ".join(names[part] for part in Part if part in finding.parts)
    return f"{name_of(element)}{f' ({parts})' if parts else ''}"


def _title(diagnosis: Diagnosis) -> str:
    finding = diagnosis.finding
    title = title_of(finding)
    return title if finding.element.kind is Kind.UNDETERMINED else f"{title}, confidence {finding.confidence:.1%}"


def _closing(diagnosis: Diagnosis) -> str:
    return ", not seen in the last window" if diagnosis.state is State.CLOSING else ""


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"
