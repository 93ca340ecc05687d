"""Agents that are short of CPU, and agents that do not answer, are told apart from their nodes."""

from __future__ import annotations

import pytest

from monlat_ebpf.abi.histogram import of_samples
from monlat_ebpf.diagnosis.agents import MOST_SILENT, silent_agents, starvation, starved_agents
from monlat_ebpf.diagnosis.findings import Element, Kind, Part, Symptom
from monlat_ebpf.diagnosis.window import Health
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import nodes, window

ON_TIME_NS, LATE_NS = 2_000_000, 300_000_000


@pytest.mark.parametrize(
    ("sent", "skipped", "is_starved"),
    [
        (240, 0, False),
        (238, 2, False),  # under 5 %
        (20, 1, False),  # 5 %, and one of 21 proves nothing
        (200, 40, True),
        (0, 240, True),
    ],
)
def test_skipped_probes(sent: int, skipped: int, is_starved: bool) -> None:
    """5 % of what was due, and more than chance gives."""
    shown = [each.symptom for each in starvation(Health(sent, skipped))]
    assert shown == ([Symptom.SKIPPED] if is_starved else [])


@pytest.mark.parametrize(("late", "is_starved"), [(0, False), (20, False), (120, True), (240, True)])
def test_late_probes(late: int, is_starved: bool) -> None:
    """A quarter of the probes more than 100 ms late, read from the histogram of the lag."""
    lag = of_samples([LATE_NS] * late + [ON_TIME_NS] * (240 - late))
    (*shown,) = starvation(Health(240, 0, lag))
    assert [(each.symptom, each.shown, each.trials) for each in shown] == [(Symptom.LATE, late, 240)] * is_starved


def test_a_starved_agent_is_named_with_its_evidence() -> None:
    """Only the agent, by the index of its node."""
    seen = window(nodes("abc"), health={"b": Health(20, 10)})
    (found,) = starved_agents(seen).items()
    assert found[0] == 1
    assert found[1].element == Element(Kind.AGENT, ("b",))
    assert found[1].parts == {Part.STARVED}
    assert [(each.shown, each.trials) for each in found[1].evidence] == [(10, 30)]


def test_a_silent_agent_on_a_node_that_answers_probes() -> None:
    """All three peers reach the node."""
    (found,) = silent_agents(window(nodes("abcd"), silent=["d"]))
    assert found.element == Element(Kind.AGENT, ("d",))
    assert found.parts == {Part.SILENT}
    assert [(each.seen_by, each.witnesses) for each in found.evidence] == [(3, 3)]


def test_a_silent_agent_on_a_node_that_is_down_is_not_named() -> None:
    """The node is; its agent has no fault of its own. With two nodes, one witness proves nothing."""
    dead = {(name, "d"): {Result.LOST_NETWORK: 15} for name in "abc"}
    assert silent_agents(window(nodes("abcd"), lost=dead, silent=["d"])) == []
    assert silent_agents(window(nodes("ab"), silent=["b"])) == []


def test_when_most_agents_are_silent_the_asker_may_be_cut_off() -> None:
    """One undetermined finding with all of them, not an accusation of each."""
    names = [f"n{i:02}" for i in range(MOST_SILENT + 4)]
    silent = names[: MOST_SILENT + 2]
    (found,) = silent_agents(window(nodes(names), silent=silent))
    assert found.element == Element(Kind.UNDETERMINED, tuple(silent))
