"""The diagnoses as they are read in a terminal."""

from __future__ import annotations

import pytest

from monlat_ebpf.diagnosis.findings import Element, Evidence, Finding, Kind, Part, Symptom
from monlat_ebpf.diagnosis.hysteresis import Diagnosis, State
from monlat_ebpf.diagnosis.text import NOTHING, name_of, render

SLOW = Evidence(Symptom.SLOW, 14, 16, 440, 480, 1, 0.0002, 0.00213)


def diagnosis(finding: Finding, state: State = State.OPEN) -> Diagnosis:
    return Diagnosis(finding, state, 7)


def text(*diagnoses: Diagnosis) -> str:
    return "\n".join(render(diagnoses))


def test_nothing_is_broken() -> None:
    """What is only suspected is not shown."""
    suspected = diagnosis(Finding(Element(Kind.NODE, ("a",)), frozenset(), 0.99, (SLOW,)), State.SUSPECTED)
    assert text() == text(suspected) == NOTHING


def test_a_node_with_two_symptoms() -> None:
    """The element, what of it, how sure, since when, and who sees it."""
    lost = Evidence(Symptom.LOSS, 16, 16, 24, 480, 8)
    node = Finding(Element(Kind.NODE, ("node-4",)), frozenset({Part.IN, Part.OUT}), 0.987, (lost, SLOW))
    assert text(diagnosis(node, State.CLOSING)) == (
        "node node-4 (what it sends and what it receives), confidence 98.7%, since window 7, "
        "not seen in the last window\n"
        "  24 of 480 probes lost in 8 windows, without the worst of each pair; seen by 16 of 16 peers\n"
        "  440 of 480 network RTTs above the usual, typically 2.13 ms where 0.2 ms is usual; seen by 14 of 16 peers"
    )


def test_a_pair_one_way() -> None:
    """The direction is that of the packets."""
    lost = Evidence(Symptom.LOSS, 1, 1, 9, 30)
    pair = Finding(Element(Kind.PAIR, ("a", "b")), frozenset({Part.RETURN}), 0.95, (lost,))
    assert text(diagnosis(pair)) == (
        "between nodes a and b (from b to a), confidence 95.0%, since window 7\n"
        "  9 of 30 probes lost; seen by 1 of 1 pairs of nodes"
    )


def test_undetermined_lists_its_candidates() -> None:
    """No name stands in the first line."""
    lost = Evidence(Symptom.LOSS, 1, 1, 30, 30)
    candidates = (Element(Kind.NODE, ("a",)), Element(Kind.NODE, ("b",)), Element(Kind.PAIR, ("a", "b")))
    finding = Finding(Element(Kind.UNDETERMINED, ("a", "b")), frozenset(), 0.33, (lost,), candidates)
    assert text(diagnosis(finding)) == (
        "undetermined: too few witnesses to name the cause, since window 7\n"
        "  may be node a\n"
        "  may be node b\n"
        "  may be between nodes a and b\n"
        "  30 of 30 probes lost; seen by 1 of 1 pairs of nodes"
    )


def test_a_starved_agent() -> None:
    """It has no witnesses but its own counts."""
    skipped = Evidence(Symptom.SKIPPED, 1, 1, 60, 240)
    agent = Finding(Element(Kind.AGENT, ("a",)), frozenset({Part.STARVED}), 0.999, (skipped,))
    assert text(diagnosis(agent)) == (
        "agent on a (it runs too rarely, so what it measures does not count), confidence 99.9%, since window 7\n"
        "  60 of 240 probes skipped"
    )


def test_agents_that_do_not_answer() -> None:
    """One whose node is up, and most of them at once."""
    answered = Evidence(Symptom.NO_ANSWER, 3, 3, 45, 45)
    silent = Finding(Element(Kind.AGENT, ("a",)), frozenset({Part.SILENT}), 1.0, (answered,))
    assert text(diagnosis(silent)).splitlines()[1] == "  45 of 45 probes to its node answered; seen by 3 of 3 peers"
    many = Evidence(Symptom.NO_ANSWER, 10, 12, 10, 12)
    undetermined = Finding(Element(Kind.UNDETERMINED, ("a", "b")), frozenset(), 0.0, (many,))
    assert text(diagnosis(undetermined)).splitlines()[1] == "  10 of 12 agents do not answer"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("x", "y"), "between zones x and y"),
        (("x", "x"), "within zone x"),
        (("", "x"), "between zones (unknown) and x"),
        (("", ""), "the whole network"),
    ],
)
def test_zone_pairs(names: tuple[str, str], expected: str) -> None:
    """Without labels there is one zone, without a name."""
    assert name_of(Element(Kind.ZONE_PAIR, names)) == expected
