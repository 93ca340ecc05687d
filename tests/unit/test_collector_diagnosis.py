"""`monlat collect` with agents that count: what is broken is named, at /api/v1/diagnosis and in the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from testkit.fake_agents import Behaviour, FakeAgents, honest
from testkit.running_collector import RunningCollector, running_collector
from testkit.waiting import wait_until
from tests.unit.collector_agents import collecting
from tests.unit.counting_agents import PROBES, CountingAgents

NODES = ("node1", "node2", "node3", "node4", "node5")
FIRST_WINDOWS = 2
LEARNED_WINDOWS = 7  # after these, the usual time of every pair is known


@pytest.fixture
def counting() -> CountingAgents:
    return CountingAgents(NODES)


@pytest.fixture
def agents(counting: CountingAgents) -> Iterator[FakeAgents]:
    with FakeAgents(NODES) as made:
        made.behaviours.update({name: partial(counting.answer, name) for name in NODES})
        yield made


@pytest.fixture
def collector(agents: FakeAgents, tmp_path: Path) -> Iterator[RunningCollector]:
    with running_collector(tmp_path, *collecting(agents, tmp_path)) as made:
        wait_for_windows(made, FIRST_WINDOWS)
        yield made


def wait_for_windows(collector: RunningCollector, more: int) -> None:
    before = collector.diagnosis()["window"]
    wait_until(lambda: collector.diagnosis()["window"] >= before + more, f"{collector.diagnosis()}; {collector.log}")


def wait_for_open(collector: RunningCollector, *elements: tuple[str, ...]) -> list[dict[str, Any]]:
    """Wait until these elements have an open diagnosis, by kind and names, and no other one has."""

    def are_open() -> bool:
        found = [each for each in collector.diagnosis()["diagnoses"] if each["state"] == "open"]
        return sorted((each["kind"], *each["names"]) for each in found) == sorted(elements)

    wait_until(are_open, f"{collector.diagnosis()}; {collector.log}")
    return [each for each in collector.diagnosis()["diagnoses"] if each["state"] == "open"]


def diagnosis_lines(collector: RunningCollector) -> list[str]:
    return [line for line in collector.get("/metrics").decode().splitlines() if line.startswith("monlat_diagnosis{")]


def test_node_that_loses_all_is_named_until_it_works_again(
    counting: CountingAgents, collector: RunningCollector
) -> None:
    """With evidence of its four peers and itself; as JSON with the documented keys, and as one series."""
    assert collector.diagnosis()["diagnoses"] == []
    counting.lost = counting.around("node3")
    (found,) = wait_for_open(collector, ("node", "node3"))
    document = collector.diagnosis()
    assert document.keys() == {*("unix_seconds", "window_seconds", "window", "agents", "agents_answering", "diagnoses")}
    assert (document["window_seconds"], document["agents"], document["agents_answering"]) == (1.0, 5, 5)
    assert found["title"].startswith("node node3")
    assert found["confidence_ratio"] > 0.9
    assert FIRST_WINDOWS < found["since_window"] < document["window"]
    assert found["since_unix_seconds"] < document["unix_seconds"]
    (evidence,) = found["evidence"]
    assert (evidence["symptom"], evidence["seen_by"], evidence["witnesses"]) == ("loss", 4, 4)
    assert evidence["shown"] % PROBES == 0
    assert f"{evidence['shown']} of {evidence['trials']} probes lost" in evidence["text"]
    (line,) = diagnosis_lines(collector)
    assert line.startswith(f'monlat_diagnosis{{element="{found["title"]}",kind="node",state="open"}} 0.9')
    counting.lost = set()
    wait_for_open(collector)
    wait_until(lambda: collector.diagnosis()["diagnoses"] == [])
    assert diagnosis_lines(collector) == []


def test_slow_pair_is_named_with_its_times(counting: CountingAgents, collector: RunningCollector) -> None:
    """From bucket 61, whose middle is 2^(-20 + 60.5/8) s = 180 us, to bucket 101: 2^(-20 + 100.5/8) s = 5.77 ms."""
    wait_for_windows(collector, LEARNED_WINDOWS)
    counting.slow = {("node1", "node2"), ("node2", "node1")}
    (found,) = wait_for_open(collector, ("pair", "node1", "node2"))
    (evidence,) = found["evidence"]
    assert (evidence["usual_seconds"], evidence["now_seconds"]) == (pytest.approx(180e-6, rel=0.1), 5.77e-3)


def test_metrics_count_the_windows_and_the_time_of_their_decisions(collector: RunningCollector) -> None:
    """As many as the last window has as its number."""
    least = collector.diagnosis()["window"]
    metrics = collector.get("/metrics").decode()
    most = collector.diagnosis()["window"]
    for name in ("monlat_diagnosis_windows_total", "monlat_diagnosis_seconds_count"):
        (line,) = [line for line in metrics.splitlines() if line.startswith(f"{name} ")]
        assert least <= float(line.split()[1]) <= most
    assert "monlat_diagnosis_window_seconds 1.0\n" in metrics


def test_distribution_of_a_pair_has_every_rtt_since_the_collector_asked_first(
    counting: CountingAgents, collector: RunningCollector
) -> None:
    """All in bucket 61, up to 2^(-20 + 61/8) s: PROBES for each question since the one that is the base.

    The first question is not for counts, so the first one for counts has PROBES already.
    """
    least = counting.asked["node1"] - 1  # the newest answer may not have been taken yet
    found = collector.pair("node1", "node2")["directions"][0]["distribution"]
    most = counting.asked["node1"]
    assert found["edges_seconds"] == [pytest.approx(2 ** (-20 + 61 / 8))]
    assert found["counts"] == [found["samples"]]
    assert found["samples"] % PROBES == 0
    assert least - 1 <= found["samples"] // PROBES <= most
    assert found["seconds"] > 0


FULL = [number for bucket in range(186) for number in (bucket, 4_294_967_295)]
HOSTILE = {
    "falls": {"rtt": [61, 1], "network_rtt": [61, 1], "dwell": []},
    "bomb": {"rtt": FULL, "network_rtt": FULL, "dwell": FULL},
    "too-many": {"rtt": [61, 1] * 100_000, "network_rtt": [], "dwell": []},
    "text": {"rtt": "61", "network_rtt": None, "dwell": None},
}


@pytest.mark.parametrize("buckets", HOSTILE.values(), ids=HOSTILE.keys())
def test_agent_with_false_counts_costs_its_own_row_alone(
    agents: FakeAgents, counting: CountingAgents, collector: RunningCollector, buckets: dict[str, Any]
) -> None:
    """Windows go on, nothing is diagnosed of it, and what is broken elsewhere is named meanwhile."""
    bad = counting.document("node5")
    agents.behaviours["node5"] = honest({**bad, "pairs": [{**each, "buckets": buckets} for each in bad["pairs"]]})
    wait_for_windows(collector, 3)
    assert [each["names"] for each in collector.diagnosis()["diagnoses"] if each["kind"] != "agent"] == []
    counting.lost = counting.around("node3")
    wait_until(lambda: ["node3"] in [each["names"] for each in collector.diagnosis()["diagnoses"]])
    # a busy machine may answer for the others late as well, for once
    wait_until(lambda: {node["name"] for node in collector.matrix()["nodes"] if node["is_stale"]} <= {"node5"})


def old(counting: CountingAgents) -> dict[str, Behaviour]:
    return {name: partial(counting.answer_as_before, name) for name in NODES}


def test_agents_of_an_older_version_have_their_losses_diagnosed(
    agents: FakeAgents, counting: CountingAgents, collector: RunningCollector
) -> None:
    """Two of five in the middle of an upgrade, then all of them: their answers have no counts."""
    counting.lost = counting.around("node3")
    agents.behaviours.update({name: old(counting)[name] for name in ("node1", "node3")})
    wait_for_open(collector, ("node", "node3"))
    counting.lost = set()
    agents.behaviours.update(old(counting))
    wait_for_open(collector)
    counting.lost = counting.around("node2")
    wait_for_open(collector, ("node", "node2"))
    assert collector.diagnosis()["agents_answering"] == 5


def test_suspected_diagnoses_are_shown_to_who_asks_for_them(
    counting: CountingAgents, collector: RunningCollector
) -> None:
    """For one window, before it opens."""
    counting.lost = counting.around("node3")
    wait_until(lambda: "suspected" in [each["state"] for each in collector.diagnosis("?suspected=1")["diagnoses"]])
    assert "suspected" not in [each["state"] for each in collector.diagnosis()["diagnoses"]]


def test_silent_agent_is_named_and_its_node_is_not(
    agents: FakeAgents, counting: CountingAgents, collector: RunningCollector
) -> None:
    """Its peers' probes are answered."""
    agents.behaviours["node4"] = agents.hang
    (found,) = wait_for_open(collector, ("agent", "node4"))
    assert found["parts"] == ["silent"]
    agents.behaviours["node4"] = partial(counting.answer, "node4")
    wait_until(lambda: collector.diagnosis()["diagnoses"] == [])


def test_nothing_is_decided_before_there_is_something_to_compare(agents: FakeAgents, tmp_path: Path) -> None:
    """Window 0 has no time."""
    agents.behaviours.update(dict.fromkeys(NODES, agents.hang))
    with running_collector(tmp_path, *collecting(agents, tmp_path)) as collector:
        found = collector.diagnosis()
    assert (found["window"], found["unix_seconds"], found["diagnoses"]) == (0, None, [])
    assert (found["agents"], found["agents_answering"]) == (5, 0)
