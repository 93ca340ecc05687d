"""When a diagnosis opens and closes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from monlat_ebpf.diagnosis.findings import Element, Evidence, Finding, Kind, Part, Symptom
from monlat_ebpf.diagnosis.hysteresis import MOST_PAIRS, Hysteresis, State

NODE = Element(Kind.NODE, ("a",))
ZONES = {"a": "x", "b": "y", "c": "y"}


def found(element: Element, *parts: Part, symptoms: Sequence[Symptom] = (Symptom.LOSS,)) -> Finding:
    return Finding(element, frozenset(parts), 0.95, tuple(Evidence(symptom, 2, 2, 9, 30) for symptom in symptoms))


def states(windows: str) -> str:
    """Return the state after each window, in which the element is found (x) or not (-): its initial, or a space."""
    hysteresis = Hysteresis()
    seen = ""
    for number, window in enumerate(windows, 1):
        diagnoses = hysteresis.update(number, [found(NODE)] if window == "x" else [], ZONES)
        seen += diagnoses[0].state[0] if diagnoses else " "
    return seen


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ("x-x-x-x", "s s s s"),
        ("xx", "so"),
        ("xxx---", "soocc "),
        ("xx--x--x", "soccocco"),
        ("xx---xx", "socc so"),
        ("-------", "       "),
    ],
)
def test_opens_after_two_windows_and_closes_after_three(windows: str, expected: str) -> None:
    """s: suspected, o: open, c: closing."""
    assert states(windows) == expected


@pytest.mark.parametrize(
    ("symptoms", "expected"),
    [
        (["loss", "slow"], "ss"),
        (["loss", "slow", "loss", "slow"], "ssss"),
        (["loss", "slow", "slow"], "sso"),
        (["loss slow", "slow", "loss"], "soo"),
        (["loss", "loss slow", "slow", "slow"], "sooo"),
        (["loss", "host_loss"], "so"),
        (["slow", "dwell"], "so"),
        (["late", "skipped"], "so"),
        (["loss", "loss", "slow"], "soo"),
    ],
)
def test_opens_when_both_windows_have_symptoms_of_one_kind(symptoms: list[str], expected: str) -> None:
    """Losses, then long times: two events. Once it is open, any symptom of the element keeps it so."""
    hysteresis = Hysteresis()
    seen = ""
    for number, names in enumerate(symptoms, 1):
        finding = found(NODE, symptoms=[Symptom(name) for name in names.split()])
        seen += hysteresis.update(number, [finding], ZONES)[0].state[0]
    assert seen == expected


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ("xbxxx", ["in", "in stack", "in stack", "in stack", "in"]),
        ("kk-xx", ["stack", "stack", "stack", "in stack", "in"]),
    ],
)
def test_the_part_that_one_agent_sees_goes_after_three_windows_without_it(windows: str, expected: list[str]) -> None:
    """x: peers see what the node receives; k: its own agent sees its kernel; b: both do; -: nobody sees anything.

    The evidence of the kernel stays as long as the part.
    """
    seen = {
        "x": [found(NODE, Part.IN)],
        "k": [found(NODE, Part.STACK, symptoms=[Symptom.HOST_LOSS])],
        "b": [found(NODE, Part.IN, Part.STACK, symptoms=[Symptom.LOSS, Symptom.HOST_LOSS])],
        "-": [],
    }
    hysteresis = Hysteresis()
    for number, (window, parts) in enumerate(zip(windows, expected, strict=True), 1):
        (diagnosis,) = hysteresis.update(number, seen[window], ZONES)
        assert " ".join(sorted(diagnosis.finding.parts)) == parts
        symptoms = {each.symptom for each in diagnosis.finding.evidence}
        assert (Symptom.HOST_LOSS in symptoms) == ("stack" in parts)


def test_since_is_the_first_window_of_the_finding() -> None:
    """Not the one in which it opened."""
    hysteresis = Hysteresis()
    for number in (7, 8, 9):
        (diagnosis,) = hysteresis.update(number, [found(NODE)], ZONES)
    assert (diagnosis.state, diagnosis.since) == (State.OPEN, 7)


@pytest.mark.parametrize(
    ("cause", "is_explained"),
    [
        (NODE, True),
        (Element(Kind.NODE, ("c",)), False),
        (Element(Kind.ZONE_PAIR, ("x", "y")), True),
        (Element(Kind.ZONE_PAIR, ("y", "y")), False),
        (Element(Kind.AGENT, ("a",)), False),
    ],
)
def test_a_pair_that_an_open_diagnosis_explains_does_not_open(cause: Element, is_explained: bool) -> None:
    """The pair a and b is found while the other diagnosis is closing, and stays suspected."""
    hysteresis = Hysteresis()
    pair = Element(Kind.PAIR, ("a", "b"))
    for number in (1, 2):
        hysteresis.update(number, [found(cause)], ZONES)
    for number in (3, 4):
        diagnoses = hysteresis.update(number, [found(pair)], ZONES)
    state = {each.finding.element: each.state for each in diagnoses}
    assert state == {cause: State.CLOSING, pair: State.SUSPECTED if is_explained else State.OPEN}


def test_too_many_pairs_are_one_undetermined_diagnosis() -> None:
    """17 open pairs name nothing; their evidence is summed up."""
    hysteresis = Hysteresis()
    pairs = [Element(Kind.PAIR, (f"a{i:02}", f"b{i:02}")) for i in range(MOST_PAIRS + 1)]
    for number in (1, 2):
        diagnoses = hysteresis.update(number, [found(pair) for pair in pairs], {})
    (one,) = diagnoses
    assert one.finding.element == Element(Kind.UNDETERMINED, ())
    (evidence,) = one.finding.evidence
    assert (evidence.seen_by, evidence.shown, evidence.trials) == (34, 153, 510)


def test_a_starved_agent_that_is_silent_at_times_stays_starved() -> None:
    """A window without its answer says less than those with it."""
    hysteresis = Hysteresis()
    agent = Element(Kind.AGENT, ("a",))
    for number in (1, 2):
        hysteresis.update(number, [found(agent, Part.STARVED)], ZONES)
    (diagnosis,) = hysteresis.update(3, [found(agent, Part.SILENT)], ZONES)
    assert diagnosis.finding.parts == {Part.STARVED, Part.SILENT}
