"""The diagnosis panel of the collector's page: what it says, which cells it outlines, and what it announces."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from monlat_ebpf.exposition.http import MetricsServer
from testkit.chromium import Chromium
from tests.unit.collector_page import Served, routes_of, served_page, small_store
from tests.unit.diagnosis_documents import NOW, diagnosis, document

NODE3 = diagnosis("node", "node3", title="node node3 (what it sends)")
UNDETERMINED = diagnosis(
    "undetermined",
    "node1",
    "node2",
    confidence_ratio=0.0,
    title="undetermined: too few witnesses to name the cause",
    candidates=[
        {"kind": "pair", "names": ["node1", "node2"], "title": "between nodes node1 and node2"},
        {"kind": "node", "names": ["node2"], "title": "node node2"},
    ],
)
AGENT2 = diagnosis("agent", "node2", state="closing")
PAIR12 = diagnosis("pair", "node1", "node2")
WITHIN_A, A_TO_B = diagnosis("zone_pair", "a", "a"), diagnosis("zone_pair", "a", "b")


@pytest.fixture
def served() -> Iterator[Served]:
    with served_page() as page:
        yield page


def outlined(served: Served, size: int) -> set[tuple[int, int]]:
    """The cells that are not veiled: their middle has the colour that it had before a diagnosis was chosen."""
    served.browser.run("document.querySelector('#chosen button').click()")
    plain = {(row, column): served.middle(row, column) for row in range(size) for column in range(size)}
    served.browser.run("document.querySelector('#diagnoses button').click()")
    return {cell for cell, colour in plain.items() if served.middle(*cell) == colour}


@pytest.mark.parametrize(
    ("changes", "meaning", "text"),
    [
        ({}, "ok", "Nothing is known to be broken; 4 of 4 agents answer."),
        ({"window": 0, "unix_seconds": None}, "blind", "No window has closed yet, so nothing is decided; 4 of 4"),
        ({"agents_answering": 3}, "blind", "Nothing is known to be broken; 3 of 4 agents answer."),
        ({"agents_answering": 0}, "blind", "Nothing is known: 0 of 4 agents answer."),
        ({"agents": 0, "agents_answering": 0}, "blind", "There are no agents in the list."),
        ({"unix_seconds": NOW - 600}, "blind", "The last window closed 10 min ago: this is old."),
        ({"diagnoses": [NODE3]}, "broken", "1 diagnosis is open; 4 of 4 agents answer."),
        (
            {"diagnoses": [NODE3, PAIR12], "agents_answering": 2},
            "broken",
            "2 diagnoses are open; 2 of 4 agents answer.",
        ),
    ],
)
def test_nothing_broken_nothing_decided_and_blind_differ(
    served: Served, changes: dict[str, object], meaning: str, text: str
) -> None:
    """Only an answer of every agent, in a window that has just closed, without a diagnosis is "ok"."""
    served.diagnosis = document(**changes)
    served.open()
    served.wait_for_text("#summary", text)
    assert served.browser.run("document.querySelector('#diagnosis').dataset.meaning") == meaning


def test_elements_are_named_in_order_with_evidence_confidence_and_age(served: Served) -> None:
    """An undetermined one names its candidates and no confidence; a closing one says so."""
    served.diagnosis = document(NODE3, UNDETERMINED, AGENT2)
    served.open()
    served.wait_for_text("#diagnoses", "agent node2")
    items = served.browser.run("[...document.querySelectorAll('#diagnoses > li')].map((each) => each.innerText)")
    clock = served.browser.run(f"new Date({NOW - 600} * 1000).toLocaleTimeString()")
    lines = [[line.strip() for line in item.splitlines() if line.strip()] for item in items]
    assert len(clock) > 4
    assert [item[0] for item in lines] == [
        "node node3 (what it sends)",
        "undetermined: too few witnesses to name the cause",
        "agent node2",
    ]
    assert lines[0][1].startswith("confidence 98.4 %, since ")
    assert lines[0][1].endswith("(10 min ago)")
    assert lines[0][2] == "38 of 40; seen by 3 of 3 peers"
    assert lines[1][1].startswith("since ")
    assert lines[1][3:] == ["may be between nodes node1 and node2", "may be node node2"]
    assert lines[2][1].endswith("(10 min ago), not seen in the last window")


@pytest.mark.parametrize(
    ("chosen", "cells"),
    [
        (NODE3, {(2, column) for column in range(4)} | {(row, 2) for row in range(4)}),
        (AGENT2, {(1, column) for column in range(4)}),
        (PAIR12, {(0, 1), (1, 0)}),
        (WITHIN_A, {(0, 0), (0, 1), (1, 0), (1, 1)}),
        (A_TO_B, {(0, 2), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1), (3, 0), (3, 1)}),
        (UNDETERMINED, {(0, 1), (1, 0)} | {(1, column) for column in range(4)} | {(row, 1) for row in range(4)}),
    ],
    ids=["node", "agent", "pair", "within a zone", "between zones", "undetermined: its candidates"],
)
def test_choosing_a_diagnosis_leaves_only_its_cells_unveiled(
    served: Served, chosen: dict[str, object], cells: set[tuple[int, int]]
) -> None:
    """In the matrix of node1 and node2 in zone a, node3 and node4 in zone b."""
    served.diagnosis = document(chosen)
    served.open("#view=nodes")
    served.wait_for_text("#diagnoses", str(chosen["title"]))
    assert outlined(served, 4) == cells


def test_zones_that_contain_the_pairs_of_a_node_are_outlined(served: Served) -> None:
    """node3 is in zone b: the cells of b's row and column."""
    served.diagnosis = document(NODE3)
    served.open()
    served.wait_for_text("#diagnoses", "node3")
    assert outlined(served, 2) == {(0, 1), (1, 0), (1, 1)}


def test_keyboard_chooses_and_the_address_restores_it(served: Served) -> None:
    """Enter on the diagnosis outlines its cells; once more, none. The link outlines them even after its end."""
    served.diagnosis = document(NODE3)
    served.open("#view=nodes")
    served.wait_for_text("#diagnoses", "node3")
    plain = served.middle(0, 1)
    served.browser.run("document.querySelector('#diagnoses button').focus()")
    served.browser.press("Enter")
    served.browser.wait_for("location.hash === '#view=nodes&diagnosis=node%2Fnode3'")
    assert served.middle(0, 1) != plain
    pressed = "document.querySelector('#diagnoses button').ariaPressed"
    assert served.browser.run(pressed) == "true"
    assert served.browser.run("document.activeElement === document.querySelector('#diagnoses button')")
    served.browser.press(" ")
    assert served.browser.run(pressed) == "false"
    assert served.middle(0, 1) == plain
    served.diagnosis = document()
    served.open("#view=nodes&diagnosis=node%2Fnode3")
    served.wait_for_text("#chosen", "There is no open diagnosis of node node3 now. Its cells are outlined.")
    assert served.middle(0, 1) != plain
    served.browser.run("document.querySelector('#chosen button').click()")
    assert served.middle(0, 1) == plain
    assert served.browser.run("document.querySelector('#chosen').hidden")


def test_diagnosis_whose_nodes_are_filtered_out_says_so(served: Served) -> None:
    """No cell of node3 is among zone a's."""
    served.diagnosis = document(NODE3)
    served.open("#view=nodes&rows=zone%3Da&columns=zone%3Da&diagnosis=node%2Fnode3")
    served.wait_for_text("#chosen", "It has no cell in this view.")
    veiled = served.middle(0, 1)
    served.browser.run("document.querySelector('#chosen button').click()")
    assert served.middle(0, 1) == veiled


def test_new_diagnosis_is_announced_once(served: Served) -> None:
    """The live region's text changes when one opens or ends, not when its evidence does."""
    served.open()
    served.wait_for_text("#summary", "Nothing is known to be broken")
    served.browser.run(
        "window.said = []; new MutationObserver(() => window.said.push(document.querySelector('#news').textContent))"
        ".observe(document.querySelector('#news'), { childList: true, characterData: true, subtree: true })"
    )
    served.diagnosis = document(NODE3)
    served.wait_for_text("#diagnoses", "seen by 3 of 3")
    evidence = [{**NODE3["evidence"][0], "text": "57 of 60"}]
    served.diagnosis = document({**NODE3, "evidence": evidence})
    served.wait_for_text("#diagnoses", "57 of 60")
    served.diagnosis = document({**NODE3, "evidence": evidence}, PAIR12)
    served.wait_for_text("#diagnoses", "pair node1 node2")
    served.diagnosis = document(PAIR12)
    served.wait_for_text("#summary", "1 diagnosis is open")
    assert served.browser.run("window.said") == [
        "Diagnosis: node node3 (what it sends).",
        "Diagnosis: pair node1 node2.",
        "No longer: node node3 (what it sends).",
    ]
    assert served.browser.run("document.querySelector('#news').getAttribute('aria-live')") == "polite"


def test_worst_pairs_say_which_diagnosis_explains_them(served: Served) -> None:
    """node3's pairs have it beside them; the pairs of zone a, which it does not explain, have none."""
    served.diagnosis = document(NODE3)
    served.open()
    served.wait_for_text("#worst", "what it sends")
    worst = served.text("#worst").splitlines()
    assert worst == [
        "node2 to node3: lost node node3 (what it sends)",
        "node3 to node2: 2 s node node3 (what it sends)",
        "node3 to node4: 6 ms node node3 (what it sends)",
        "node3 to node1: 5 ms node node3 (what it sends)",
        "node2 to node1: 4 ms",
        "node1 to node4: 3 ms",
        "node1 to node3: 2 ms node node3 (what it sends)",
        "node1 to node2: 1 ms",
    ]


def test_outline_has_the_colour_of_what_is_chosen(served: Served) -> None:
    """The accent, along the upper edge of a pair's cell; a cell elsewhere has none of it."""
    served.diagnosis = document(PAIR12)
    served.open("#view=nodes")
    served.wait_for_text("#diagnoses", "pair node1 node2")
    served.browser.run("document.querySelector('#diagnoses button').click()")
    cell = served.pixels(0, 1)
    size = math.isqrt(len(cell))
    accent = (29, 95, 209)
    assert accent in cell[:size]
    assert accent not in served.pixels(2, 3)


def test_matrix_is_shown_without_a_diagnosis() -> None:
    """A collector that gives none: the page says that nothing is known, not that nothing is broken."""
    routes = {path: route for path, route in routes_of(small_store()).items() if path != "/api/v1/diagnosis"}
    with MetricsServer([("127.0.0.1", 0)], routes) as server, Chromium() as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait_for("document.querySelector('#map')?.dataset.cells")
        text = "Nothing is known: the collector gives no diagnosis (status 404)."
        assert browser.run("document.querySelector('#summary').innerText") == text
        assert browser.run("document.querySelector('#diagnosis').dataset.meaning") == "blind"
        assert browser.run("document.querySelector('#worst').children.length") == 8
