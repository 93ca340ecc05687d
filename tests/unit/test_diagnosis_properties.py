"""What holds for the diagnosis of any window: other names, the other direction, any set of lossy cells."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monlat_ebpf.abi.histogram import of_samples
from monlat_ebpf.diagnosis.diagnoser import Diagnoser
from monlat_ebpf.diagnosis.findings import Element, Finding, Kind, Part
from monlat_ebpf.diagnosis.window import Health, Node, Row, Samples, Window
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import (
    NAMES,
    NETWORK,
    ZONES,
    Cell,
    all_cells,
    decide,
    found,
    into,
    node,
    nodes,
    out_of,
    window,
)


def random_window(random: Random) -> Window:
    """Return a window of some of nine nodes, in some order, with any results, samples, silent and starved agents."""
    of = random.sample([Node(name, random.choice(["", "x"])) for name in NAMES], random.randint(0, 9))
    of.sort(key=lambda node: node.zone)
    rows: list[Row | None] = []
    for index in range(len(of)):
        peers = array("I", [peer for peer in range(len(of)) if peer != index and random.random() < 0.7])
        results = {result: array("I", [random.choice((0, 0, 1, 15)) for _ in peers]) for result in Result}
        times = [
            Samples.of(bytes(sorted(random.choices(range(186), k=random.choice((0, 1, 15))))) for _ in peers)
            for _ in range(3)
        ]
        health = Health(random.choice((0, 15)), random.choice((0, 0, 15)), random.choice((None, of_samples([10**9]))))
        row = Row(peers, results, times[0], health, *random.choice(((None, None), (times[1], times[2]))))
        rows.append(random.choice((None, row, row, row)))
    return Window(tuple(of), rows)


@pytest.mark.parametrize("seed", range(5))
def test_any_windows_are_diagnosed(seed: int) -> None:
    """Nodes come, go and change zones, agents fall silent: each window has a report, and its counts are sound."""
    random, diagnoser = Random(seed), Diagnoser()
    for number in range(1, 41):
        seen = random_window(random)
        report = diagnoser.decide(seen)
        assert report.number == number
        names = {node.name for node in seen.nodes}
        for finding in report.findings:
            assert 0 <= finding.confidence <= 1
            assert finding.element.kind is Kind.ZONE_PAIR or set(finding.element.names) <= names | {"", "x"}
            assert all(0 < each.shown <= each.trials and each.seen_by <= each.witnesses for each in finding.evidence)


def renamed(element: Element, names: Mapping[str, str]) -> Element:
    return Element(element.kind, tuple(sorted(names[name] for name in element.names)))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.permutations(NAMES[:6]),
    st.dictionaries(st.sampled_from(all_cells(NAMES[:6])), st.integers(1, 15), max_size=30),
)
def test_names_and_their_order_change_nothing(names: Sequence[str], lost: dict[Cell, int]) -> None:
    """Whatever was lost: with other names in another order, the findings are the same, by the other names."""
    new = dict(zip(NAMES[:6], names, strict=True))
    before = decide(window(nodes(NAMES[:6]), {cell: {NETWORK: count} for cell, count in lost.items()}))
    losses = {(new[one], new[other]): {NETWORK: count} for (one, other), count in lost.items()}
    after = decide(window(tuple(Node(name) for name in NAMES[:6]), losses))
    kinds = {Kind.NODE, Kind.PAIR}
    assert {renamed(each, new) for each in found(before) if each.kind in kinds} == {
        each for each in found(after) if each.kind in kinds
    }


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 8), st.integers(2, 14))
def test_the_other_direction_is_the_other_part(number: int, lost: int) -> None:
    """Exchange requests and replies of all losses: what was lost on the way out is lost on the way in."""
    name = NAMES[number]
    of = nodes(NAMES, ZONES)
    assert found(decide(window(of, out_of(name, NAMES, lost)))) == {node(name): {Part.OUT}}
    assert found(decide(window(of, into(name, NAMES, lost)))) == {node(name): {Part.IN}}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.sets(st.sampled_from(all_cells(NAMES[:5])), min_size=1))
def test_findings_name_only_nodes_with_symptoms(cells: set[Cell]) -> None:
    """Whichever cells lose all: a node that no lossy cell touches is never named."""
    report = decide(window(nodes(NAMES[:5]), {cell: {NETWORK: 15} for cell in cells}))
    touched = {name for cell in cells for name in cell}
    named = {name for each in report.findings for name in _nodes_of(each)}
    assert named <= touched
    assert report.findings != ()


def _nodes_of(finding: Finding) -> Sequence[str]:
    return finding.element.names if finding.element.kind in (Kind.NODE, Kind.PAIR) else ()
