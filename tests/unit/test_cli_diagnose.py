"""`monlat diagnose`: what it says, and its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from testkit.fake_agents import FakeAgents
from testkit.running_collector import running_collector
from testkit.waiting import wait_until
from tests.unit.collector_agents import NODES, collecting, of_node
from tests.unit.fake_collector import NOW, diagnosis, even, serving, slow_node
from tests.unit.terminal import started_in_a_terminal

PROGRAM = [sys.executable, "-m", "monlat_ebpf", "diagnose"]
BASIS = "5 of 5 agents answer; the last window of 5 s closed 3 s ago"


def diagnose(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def watching(url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [*PROGRAM, "--url", url, "--watch", "--interval", "100ms", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def test_diagnoses_are_shown_as_the_collector_says_them() -> None:
    """Title, confidence, begin, candidates and evidence; status 1."""
    pair = {"kind": "pair", "names": ["node1", "node2"], "title": "between nodes node1 and node2"}
    unclear = slow_node(
        kind="undetermined",
        title="undetermined: too few witnesses to name the cause",
        confidence_ratio=0.0,
        since_unix_seconds=None,
        state="closing",
        candidates=[pair],
        evidence=[{"text": "9 of 10 probes lost; seen by 1 of 1 pairs of nodes"}],
    )
    with serving(diagnosis(slow_node(), unclear)) as url:
        done = diagnose("--url", url)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "node node3 (what it sends), confidence 99.8%, since 2027-01-15 07:59:00 UTC",
        "  38 of 40 network RTTs above the usual; seen by 4 of 4 peers",
        "undetermined: too few witnesses to name the cause, not seen in the last window",
        "  may be between nodes node1 and node2",
        "  9 of 10 probes lost; seen by 1 of 1 pairs of nodes",
        BASIS,
    ]


@pytest.mark.parametrize(
    ("document", "status", "line"),
    [
        (diagnosis(), 0, "Nothing is known to be broken."),
        (diagnosis(agents_answering=3), 0, "Nothing is known to be broken."),
        (diagnosis(agents_answering=2), 2, "It cannot be told: only 2 of 5 agents answer."),
        (diagnosis(agents=0, agents_answering=0), 2, "It cannot be told: the collector's list of agents is empty."),
        (
            diagnosis(unix_seconds=None, window=0),
            2,
            "It cannot be told: no window has closed since the collector's start.",
        ),
        (diagnosis(unix_seconds=NOW - 20.0), 0, "Nothing is known to be broken."),
        (
            diagnosis(unix_seconds=NOW - 21.0),
            2,
            "It cannot be told: the last window closed 21 s ago, and one takes 5 s.",
        ),
        (diagnosis(slow_node(), agents_answering=2), 1, "It may have changed: only 2 of 5 agents answer."),
        (
            diagnosis(slow_node(), unix_seconds=NOW - 21.0),
            2,
            "It may have changed: the last window closed 21 s ago, and one takes 5 s.",
        ),
    ],
)
def test_exit_status_tells_health_from_ignorance(document: dict[str, Any], status: int, line: str) -> None:
    """No window, an old one, or too few agents: 2. What is found by few agents is found."""
    with serving(document) as url:
        done = diagnose("--url", url)
    assert (done.returncode, done.stderr) == (status, "")
    assert line in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "its answer to /api/v1/diagnosis is not JSON"),
        (b"[]", "its answer to /api/v1/diagnosis is no diagnosis (is it another version of monlat?)"),
        ({"window": 3}, "its answer to /api/v1/diagnosis is no diagnosis (is it another version of monlat?)"),
        (
            diagnosis(slow_node(evidence=[{}])),
            "its answer to /api/v1/diagnosis is no diagnosis (is it another version of monlat?)",
        ),
    ],
)
def test_what_is_no_collector_leaves_it_unknown(body: bytes | dict[str, Any], reason: str) -> None:
    """Status 2, one line, and nothing on standard output."""
    with serving(body) as url:
        done = diagnose("--url", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"monlat: no collector answers at {url}: {reason}. "
        "Start one with `monlat collect`, or say where it listens with --url (MONLAT_URL)\n"
    )


def test_missing_collector_leaves_it_unknown() -> None:
    """Status 2, as for another wrong command line: 1 would mean that something is broken."""
    done = diagnose("--url", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("monlat: no collector answers at http://127.0.0.1:1: Connection refused. ")


def test_json_is_the_collectors_answer() -> None:
    """With fields that this version does not know, on one line; the status is that of the diagnoses."""
    sent = diagnosis(slow_node(), field_of_a_later_version=True)
    with serving(sent) as url:
        done = diagnose("--url", url, "--json")
    assert (done.returncode, json.loads(done.stdout), done.stdout.count("\n")) == (1, sent, 1)


def test_names_cannot_control_the_terminal() -> None:
    """A title with an escape sequence is shown with the sequence spelt out."""
    with serving(diagnosis(slow_node(title="node \x1b[2J"))) as url:
        assert "node \\x1b[2J, confidence" in diagnose("--url", url).stdout


def test_watch_follows_in_a_pipe() -> None:
    """An answer after the other, a blank line between; the status is that of the last one. A gap is reported once."""
    healthy, broken = diagnosis(), diagnosis(slow_node())
    with serving(healthy, b"<html>", b"<html>", broken) as url, watching(url) as process:
        assert lines_of(process, 3) == ["Nothing is known to be broken.", BASIS, ""]
        assert lines_of(process, 1) == ["node node3 (what it sends), confidence 99.8%, since 2027-01-15 07:59:00 UTC"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.count("monlat: no collector answers at") == 1


def test_watch_writes_json_lines() -> None:
    """Each answer is a line."""
    with serving(diagnosis()) as url, watching(url, "--json") as process:
        assert [json.loads(line) for line in lines_of(process, 3)] == [diagnosis()] * 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_terminal_shows_colours_unless_no_color_is_set() -> None:
    """What is broken is red; with NO_COLOR it is not."""
    for variable in ((), ("env", "NO_COLOR=1")):
        with (
            serving(diagnosis(slow_node())) as url,
            started_in_a_terminal([*variable, *PROGRAM, "--url", url], columns=100) as (process, terminal),
        ):
            shown = b""
            while b"closed" not in shown:
                shown += os.read(terminal, 65536)
            assert process.wait(timeout=60) == 1
        assert (b"31mnode node3" in shown) == (not variable)


def test_agent_is_no_collector() -> None:
    """A collector without this path, or an agent, answers 404."""
    with serving(even("ab")) as url:
        done = diagnose("--url", url + "/elsewhere")
    assert done.returncode == 2
    assert "it answers 404 Not Found to /api/v1/diagnosis" in done.stderr


def test_real_collector_of_healthy_agents(tmp_path: Path) -> None:
    """Before its first window it cannot be told; then nothing is broken."""
    with FakeAgents(NODES) as agents:
        for name in NODES:
            agents.behaviours[name] = of_node(name)
        with running_collector(tmp_path, *collecting(agents, tmp_path)) as collector:
            wait_until(lambda: diagnose("--url", collector.url).returncode == 0)
