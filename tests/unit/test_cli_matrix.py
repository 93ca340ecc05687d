"""`monlat matrix`: its cells and marks, what it shows of a wide cluster, and its errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from monlat_ebpf.cli.cluster import matrix_of
from monlat_ebpf.cli.matrix_text import TITLES, layouts
from monlat_ebpf.cli.rendering import Layout, Table, Tone
from monlat_ebpf.cli.screen import layout_as_text
from monlat_ebpf.collector.matrix import MEASURES
from monlat_ebpf.errors import CollectorUnreachable
from monlat_ebpf.exposition.json_client import Reply
from testkit.fake_agents import FakeAgents
from testkit.running_collector import running_collector
from testkit.waiting import wait_until
from tests.unit.collector_agents import NODES, collecting, of_node
from tests.unit.fake_collector import NOW, even, matrix, serving
from tests.unit.terminal import in_a_terminal

PROGRAM = [sys.executable, "-m", "monlat_ebpf", "matrix"]
MIXED = matrix("aabb", ["-mmn", "m-lm", "mm-m", "sss-"], [[0.000436, None], [0.00041, 0.0012], [0.0005, 0.1, 4e-4], []])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False)


def shown(document: dict[str, Any], **options: Any) -> tuple[Layout, ...]:
    return layouts(matrix_of(Reply(document, NOW), "http://it"), **options)


def text_of(layout: Layout) -> list[str]:
    return [line for line in layout_as_text(layout).splitlines() if line]


def tables_of(layout: Layout) -> list[Table]:
    return [block for block in layout if isinstance(block, Table)]


def test_pipe_gets_a_cell_for_each_pair() -> None:
    """Numbers in milliseconds; a word or a mark for what has none; why an agent does not answer."""
    with serving(MIXED) as url:
        done = run("--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line] == [
        "RTT in ms, last",
        "FROM \\ TO  node1  node2  node3  node4",
        "node1          -  0.436      ?      .",
        "node2      0.410      -   lost   1.20",
        "node3      0.500    100      -  0.400",
        "node4      stale  stale  stale      -",
        "3 of 4 agents answer, the oldest answer is 1.5 s old; lost: no reply to the last probe; "
        "stale: the row's agent does not answer; '.': not probed; ?: measured, this number is not known",
        "the agent of node4 does not answer in time",
    ]
    assert "\x1b" not in done.stdout


def test_marks_are_explained_only_where_they_are() -> None:
    """A healthy matrix has no legend."""
    *_, last = text_of(shown(even("ab"))[0])
    assert last == "2 of 2 agents answer, the oldest answer is 1.0 s old"


def test_tones_mark_what_is_lost_stale_or_far_above_the_rest() -> None:
    """The median is 0.5 ms: more than 2 ms is marked. Lost is red, stale yellow."""
    (table,) = tables_of(shown(MIXED)[0])
    tones = {cell.text: cell.tone for row in table.rows for cell in row[1:]}
    assert (tones["lost"], tones["stale"], tones["100"], tones["1.20"]) == (
        *(Tone.BAD, Tone.WARNING, Tone.WARNING, Tone.PLAIN),
    )


@pytest.mark.parametrize(
    ("measure", "unit", "value", "text"),
    [
        ("loss", "ratio", 0.0312, "3.12%"),
        ("loss_forward", "ratio", 0.0, "0%"),
        ("rtt_over_past", "ratio", 1.034, "1.03x"),
        ("clock_offset", "seconds", -0.0015, "-1.50"),
        ("dwell", "seconds", 0.00003, "0.030"),
    ],
)
def test_measure_has_its_unit(measure: str, unit: str, value: float, text: str) -> None:
    """Ratios of losses in percent, times in milliseconds."""
    document = even("a" * 2, value) | {"measure": measure}
    document[f"values_{unit}"] = document.pop("values_seconds")
    (table,) = tables_of(shown(document)[0])
    assert table.title == TITLES[measure]
    assert [cell.text for cell in table.rows[0]] == ["node1", "-", text]


def test_every_measure_of_the_collector_has_a_title() -> None:
    """A new one would be shown by its name alone."""
    assert TITLES.keys() == MEASURES.keys()


def test_zones_show_the_median_and_what_is_lost() -> None:
    """Zone a to b: 1.2 ms and one lost, one without a number, one not probed. From b to a: 0.5 and 100, median 50.2."""
    zones, worst = tables_of(shown(MIXED, zones_only=True)[0])
    assert zones.title == "RTT in ms, last; zones"
    assert [[cell.text for cell in row] for row in zones.rows] == [
        ["a", "0.423", "1.20, 1 lost"],
        ["b", "50.2", "0.400"],
    ]
    assert [[cell.text for cell in row] for row in worst.rows][:3] == [
        ["node2", "node3", "lost"],
        ["node3", "node2", "100"],
        ["node2", "node4", "1.20"],
    ]


def test_zone_without_a_number_has_its_most_serious_state() -> None:
    """Lost before stale before not probed; a zone with one node has no pair of its own."""
    document = matrix("abc", ["-ln", "n-n", "ss-"], [[], [], []])
    zones, worst = tables_of(shown(document, zones_only=True)[0])
    assert [[cell.text for cell in row] for row in zones.rows] == [
        ["a", "-", "lost", "."],
        ["b", ".", "-", "."],
        ["c", "stale", "stale", "-"],
    ]
    assert [[cell.text for cell in row] for row in worst.rows] == [["node1", "node2", "lost"]]


def test_summary_counts_the_pairs() -> None:
    """6 measured, one of them without a number; 1 lost, 3 stale, 1 not probed."""
    summary, _ = tables_of(shown(MIXED, width=80)[-1])
    assert [[cell.text for cell in row] for row in summary.rows] == [
        *(["measured", "7"], ["lost", "1"], ["stale", "3"], ["not probed", "1"]),
        *(["least", "0.400"], ["median", "0.436"], ["p99", "100"], ["largest", "100"]),
    ]


def test_terminal_shows_what_fits() -> None:
    """40 nodes in 4 zones: all at 400 columns, zones at 100, a summary at 25. No line is wrapped."""
    with serving(even("a" * 10 + "b" * 10 + "c" * 10 + "d" * 10)) as url:
        for columns, wanted, not_wanted in (
            (400, "node40", "worst"),
            (100, "zones", "PAIRS"),
            (30, "PAIRS", "zones ("),
        ):
            text = in_a_terminal([*PROGRAM, "--url", url], columns=columns)
            assert wanted in text
            assert not_wanted not in text
            lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines()]
            assert max(map(len, lines)) <= columns


def test_thousand_nodes_are_a_summary() -> None:
    """A million pairs in one zone: counts and ten pairs, in a page of text."""
    (only,) = shown(even("a" * 1000), width=200)
    lines = text_of(only)
    assert "measured    999000" in lines
    assert len(lines) < 30


def test_json_is_the_collectors_answer() -> None:
    """On one line, with fields that this version does not know."""
    sent = even("ab", field_of_a_later_version=True)
    with serving(sent) as url:
        done = run("--url", url, "--json", "--measure", "rtt_p99")
    assert json.loads(done.stdout) == sent | {"measure": "rtt_p99"}
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"<html>", "its answer to /api/v1/matrix is not JSON"),
        ([], "its answer to /api/v1/matrix is no matrix (is it another version of monlat?)"),
        (even("ab") | {"values_seconds": [[1.0], []]}, "its answer to /api/v1/matrix is no matrix"),
        (even("ab") | {"states": ["-m"]}, "its answer to /api/v1/matrix is no matrix"),
        (even("ab") | {"states": ["-m", "m-m"], "values_seconds": [[1], [1, 1]]}, "has rows that do not fit"),
        (even("ab") | {"states": ["-m", "x-"], "values_seconds": [[1], []]}, "has rows that do not fit"),
    ],
)
def test_answer_that_is_no_matrix_is_an_error(document: Any, reason: str) -> None:
    """Another server, or another version: one line, status 1."""
    if isinstance(document, bytes):
        with serving(document) as url:
            done = run("--url", url)
        assert (done.returncode, done.stdout) == (1, "")
        assert reason in done.stderr
    else:
        with pytest.raises(CollectorUnreachable, match=re.escape(reason)):
            shown(document)


def test_unknown_measure_is_a_usage_error() -> None:
    """Status 2, and the names that there are."""
    done = run("--measure", "latency")
    assert done.returncode == 2
    assert "'rtt_over_past'" in done.stderr


def test_invalid_url_is_a_usage_error() -> None:
    """The example is a collector's."""
    done = run("--url", "node1:9090")
    assert (done.returncode, done.stderr) == (
        2,
        "monlat: --url (MONLAT_URL): 'node1:9090' is not the URL of a collector; "
        "write for example http://127.0.0.1:9090\n",
    )


def test_real_collector_and_four_agents(tmp_path: Path) -> None:
    """Every agent says 43.1 us to everybody: 12 numbers."""
    with FakeAgents(NODES) as agents:
        for name in NODES:
            agents.behaviours[name] = of_node(name)
        with running_collector(tmp_path, *collecting(agents, tmp_path)) as collector:
            wait_until(lambda: run("--url", collector.url).stdout.split().count("0.043") == 12)
