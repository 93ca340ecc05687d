"""Whole windows to findings: what is named, from which cells, and when the answer is "undetermined"."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from monlat_ebpf.diagnosis.diagnoser import Diagnoser
from monlat_ebpf.diagnosis.findings import Element, Evidence, Kind, Part, Symptom
from monlat_ebpf.diagnosis.past import LEARNED
from monlat_ebpf.diagnosis.window import Health
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import (
    DWELL_SECONDS,
    FORWARD,
    NAMES,
    NETWORK,
    RETURN,
    USUAL_SECONDS,
    ZONES,
    Cell,
    all_cells,
    decide,
    found,
    into,
    node,
    nodes,
    out_of,
    pair,
    window,
)

Lost = Mapping[Cell, Mapping[Result, int]]


def test_nothing_is_found_in_a_healthy_cluster() -> None:
    """Scattered single losses are chance."""
    lost = {("n0", "n1"): {FORWARD: 1}, ("n5", "n2"): {NETWORK: 1}, ("n3", "n8"): {RETURN: 1}}
    assert decide(window(nodes(NAMES), lost)).findings == ()


@pytest.mark.parametrize(("losses", "part"), [(out_of, Part.OUT), (into, Part.IN)])
def test_a_node_that_loses_packets_one_way(losses: object, part: Part) -> None:
    """A fifth of what it sends (receives) is lost: seen by all 8 peers, in 48 of 240 probes."""
    assert callable(losses)
    report = decide(window(nodes(NAMES, ZONES), losses("n4", NAMES, 3)))
    assert found(report) == {node("n4"): {part}}
    (finding,) = report.findings
    assert finding.evidence == (Evidence(Symptom.LOSS, seen_by=8, witnesses=8, shown=48, trials=240),)
    assert finding.confidence > 0.99


def test_a_node_that_loses_packets_both_ways() -> None:
    """Requests and replies, in each cell."""
    lost = {
        cell: {FORWARD: 2, RETURN: 2} for cell in all_cells(NAMES) if "n4" in cell
    }  # fmt: skip
    assert found(decide(window(nodes(NAMES), lost))) == {node("n4"): {Part.OUT, Part.IN}}


def test_a_node_that_is_down() -> None:
    """All that its peers send is lost, its agent does not answer: the node, and in which direction is not known."""
    lost = {(name, "n4"): {NETWORK: 15} for name in NAMES}
    report = decide(window(nodes(NAMES, ZONES), lost, silent=["n4"]))
    assert found(report) == {node("n4"): set()}
    assert report.findings[0].evidence == (Evidence(Symptom.LOSS, 8, 8, 120, 120),)


def test_seen_by_most_peers_is_enough() -> None:
    """Six of eight peers lose all, two lose nothing: the node still, and the evidence says so."""
    lost = {cell: {NETWORK: 15} for cell in all_cells(NAMES) if "n4" in cell and not set(cell) & {"n0", "n1"}}
    report = decide(window(nodes(NAMES), lost))
    assert [(each.seen_by, each.witnesses) for each in report.findings[0].evidence] == [(6, 8)]
    assert found(report) == {node("n4"): set()}


def test_seen_by_few_peers_is_not() -> None:
    """Three of eight peers lose all: neither the node nor three pairs are named, but what they have in common is."""
    lost = {cell: {NETWORK: 15} for cell in all_cells(NAMES) if "n4" in cell and set(cell) & {"n0", "n1", "n2"}}
    (finding,) = decide(window(nodes(NAMES), lost)).findings
    assert finding.element.kind is Kind.UNDETERMINED
    assert finding.candidates == (node("n4"),)


@pytest.mark.parametrize(
    ("lost", "parts"),
    [
        ({("n1", "n2"): {FORWARD: 9}, ("n2", "n1"): {RETURN: 9}}, {Part.FORWARD}),
        ({("n1", "n2"): {RETURN: 9}, ("n2", "n1"): {FORWARD: 9}}, {Part.RETURN}),
        ({("n1", "n2"): {FORWARD: 5, RETURN: 5}, ("n2", "n1"): {FORWARD: 5, RETURN: 5}}, {Part.FORWARD, Part.RETURN}),
        ({("n1", "n2"): {NETWORK: 15}, ("n2", "n1"): {NETWORK: 15}}, set()),
    ],
)
def test_a_pair(lost: Lost, parts: set[Part]) -> None:
    """Both nodes have other peers that reach them."""
    assert found(decide(window(nodes(NAMES, ZONES), lost))) == {pair("n1", "n2"): parts}


def test_a_zone_pair() -> None:
    """All 9 pairs between two zones lose a third of their probes, one way."""
    lost: dict[Cell, dict[Result, int]] = {}
    for one, other in all_cells(NAMES):
        if (ZONES[one], ZONES[other]) == ("zone0", "zone2"):
            lost[one, other] = {FORWARD: 5}
            lost[other, one] = {RETURN: 5}
    report = decide(window(nodes(NAMES, ZONES), lost))
    assert found(report) == {Element(Kind.ZONE_PAIR, ("zone0", "zone2")): {Part.FORWARD}}
    assert [(each.seen_by, each.witnesses) for each in report.findings[0].evidence] == [(9, 9)]


def test_what_is_within_a_zone() -> None:
    """All pairs of the nodes of a zone, and no other."""
    lost = {cell: {NETWORK: 6} for cell in all_cells(NAMES) if {ZONES[name] for name in cell} == {"zone1"}}
    assert found(decide(window(nodes(NAMES, ZONES), lost))) == {Element(Kind.ZONE_PAIR, ("zone1", "zone1")): set()}


def test_several_faults_at_once() -> None:
    """A node that loses what it sends, one that loses what it receives, and a pair apart from both."""
    lost = out_of("n0", NAMES, 6) | into("n4", NAMES, 8) | {("n7", "n8"): {FORWARD: 12}, ("n8", "n7"): {RETURN: 12}}
    assert found(decide(window(nodes(NAMES, ZONES), lost))) == {
        node("n0"): {Part.OUT},
        node("n4"): {Part.IN},
        pair("n7", "n8"): {Part.FORWARD},
    }


@pytest.mark.parametrize("factor", [1.9, 3, 10])
def test_a_slow_node(factor: float) -> None:
    """Both directions of each pair take longer than they used to. A round-trip time does not tell the direction."""
    times = {cell: factor * USUAL_SECONDS for cell in all_cells(NAMES) if "n4" in cell}
    report = decide(window(nodes(NAMES, ZONES), rtt=times))
    assert found(report) == {node("n4"): set()}
    (evidence,) = report.findings[0].evidence
    assert (evidence.symptom, evidence.seen_by, evidence.witnesses) == (Symptom.SLOW, 8, 8)
    assert evidence.usual_seconds == pytest.approx(USUAL_SECONDS, rel=0.05)
    assert evidence.now_seconds == pytest.approx(factor * USUAL_SECONDS, rel=0.05)


def test_a_small_rise_that_only_near_peers_can_see() -> None:
    """200 µs more double the RTT to three peers; to five others, 2 ms away, they are nothing. It is the node still."""
    far = {cell: 10 * USUAL_SECONDS for cell in all_cells(NAMES) if "n4" in cell and set(cell) & set(NAMES[5:])}
    near = {cell: 2 * USUAL_SECONDS for cell in all_cells(NAMES) if "n4" in cell and cell not in far}
    later = {cell: seconds + USUAL_SECONDS for cell, seconds in far.items()}
    diagnoser = Diagnoser()
    for _ in range(LEARNED):
        diagnoser.decide(window(nodes(NAMES), rtt=far))
    assert found(diagnoser.decide(window(nodes(NAMES), rtt=later | near))) == {node("n4"): set()}


def test_a_slow_kernel() -> None:
    """A node whose kernel takes 1 ms to answer, by its own stamps; the network is as fast as ever."""
    dwell = {(name, other): 1e-3 for name, other in all_cells(NAMES) if name == "n4"}
    report = decide(window(nodes(NAMES, ZONES), dwell=dwell))
    assert found(report) == {node("n4"): {Part.STACK}}
    (evidence,) = report.findings[0].evidence
    assert evidence.usual_seconds == pytest.approx(DWELL_SECONDS, rel=0.05)


def test_probes_lost_in_the_host_are_its_own_fault() -> None:
    """They never reached the network: the node that counts them, and none of its peers."""
    lost = {cell: {Result.LOST_HOST: 4} for cell in all_cells(NAMES) if cell[0] == "n4"}
    assert found(decide(window(nodes(NAMES, ZONES), lost))) == {node("n4"): {Part.STACK}}


def test_a_starved_agent_is_no_witness() -> None:
    """It lost half of its probes in its host and in the network, and was slow: the agent is named, and nothing else."""
    mine = [cell for cell in all_cells(NAMES) if cell[0] == "n4"]
    report = decide(
        window(
            nodes(NAMES, ZONES),
            lost={cell: {Result.LOST_HOST: 4, NETWORK: 4} for cell in mine},
            rtt=dict.fromkeys(mine, 1.0),
            health={"n4": Health(sent=60, skipped=60)},
        )
    )
    assert found(report) == {Element(Kind.AGENT, ("n4",)): {Part.STARVED}}


def test_a_starved_agent_is_no_witness_in_five_windows_more() -> None:
    """It is short of CPU now and then, and slow all the time: in the sixth window after, its node is named."""
    slow = {cell: 3 * USUAL_SECONDS for cell in all_cells(NAMES) if cell[0] == "n4"}
    starved = window(nodes(NAMES), rtt=slow, health={"n4": Health(sent=60, skipped=60)})
    diagnoser = Diagnoser()
    for _ in range(LEARNED):
        diagnoser.decide(window(nodes(NAMES)))
    agent = Element(Kind.AGENT, ("n4",))
    assert set(found(diagnoser.decide(starved))) == {agent}
    later = [set(found(diagnoser.decide(window(nodes(NAMES), rtt=slow)))) for _ in range(6)]
    assert later == [set()] * 5 + [{node("n4")}]


def test_a_starved_agent_on_a_node_that_is_bad_besides() -> None:
    """Its peers see the node: both are named."""
    lost = {cell: {NETWORK: 8} for cell in all_cells(NAMES) if "n4" in cell}
    report = decide(window(nodes(NAMES, ZONES), lost, health={"n4": Health(sent=60, skipped=60)}))
    assert set(found(report)) == {Element(Kind.AGENT, ("n4",)), node("n4")}


def test_a_node_is_no_witness_of_itself() -> None:
    """Of three agents one answers, and reaches nobody: it may be cut off, or the others are down."""
    report = decide(window(nodes("abc"), {("a", "b"): {NETWORK: 15}, ("a", "c"): {NETWORK: 15}}, silent="bc"))
    assert {finding.element.kind for finding in report.findings} == {Kind.UNDETERMINED}


def test_cells_that_are_not_probed_are_no_evidence() -> None:
    """Only n0 and n1 probe n4, and it only them: two of two witnesses, not two of eight."""
    unseen = [cell for cell in all_cells(NAMES) if "n4" in cell and not set(cell) & {"n0", "n1"}]
    lost = {cell: {NETWORK: 15} for cell in all_cells(NAMES) if "n4" in cell and cell not in unseen}
    diagnoser = Diagnoser()
    for _ in range(LEARNED):
        diagnoser.decide(window(nodes(NAMES), not_probed=unseen))
    report = diagnoser.decide(window(nodes(NAMES), lost, not_probed=unseen))
    assert found(report) == {node("n4"): set()}
    assert [(each.seen_by, each.witnesses) for each in report.findings[0].evidence] == [(2, 2)]


def test_one_node_in_a_zone_is_not_distinguished_from_what_is_between_zones() -> None:
    """All pairs between zone0 and the one node of another zone lose probes; the rest of its pairs do not."""
    zones = {name: "zone0" if name in NAMES[:4] else "zone1" if name == "n8" else "zone2" for name in NAMES}
    lost = {cell: {NETWORK: 9} for cell in all_cells(NAMES) if {zones[name] for name in cell} == {"zone0", "zone1"}}
    (finding,) = decide(window(nodes(NAMES, zones), lost)).findings
    assert finding.element.kind is Kind.UNDETERMINED
    assert node("n8") in finding.candidates
