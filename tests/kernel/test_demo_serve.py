"""`monlat demo --serve`: the page is served, and the collector names what the demo broke, and nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from monlat_ebpf.cli.demo_serving import BREAKS_AFTER_WINDOWS
from testkit.waiting import wait_until
from tests.kernel.running_demo import DEMO, Terminal, Traces, running_demo

ANY_PORT = ("--listen", "127.0.0.1:0")
FURTHER_WINDOWS = 5
"""In which nothing else is found, after the element was named: it would be in two."""

NAMED: dict[str, tuple[str, list[str], list[str], str, set[str]]] = {
    "node": ("node", ["node2"], [], "all packets that node2 sends arrive 5 ms later", {"slow"}),
    "pair": ("pair", ["node1", "node2"], ["forward"], "no packet from node1 reaches node2", {"loss"}),
    "zone": ("zone_pair", ["a", "b"], [], "all packets from zone a to zone b arrive 5 ms later", {"slow"}),
    "loss": ("node", ["node2"], ["out"], "20% of the packets that node2 sends are lost", {"loss"}),
    "cpu": (
        "agent",
        ["node2"],
        ["starved"],
        "the agent of node2 is stopped for 0.7 s of every second",
        {"skipped", "late"},
    ),
}
"""Each fault with the kind of the element, its names, its parts, what the demo says that it broke, and the symptoms."""


def get(url: str) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as answer:
        body: bytes = answer.read()
        return body


def diagnosis_at(url: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(get(f"{url}api/v1/diagnosis"))
    return document


def elements(document: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [(each["kind"], each["names"]) for each in document["diagnoses"]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", NAMED)
def test_the_collector_names_what_the_demo_broke(traces: Traces, fault: str) -> None:
    """Before, nothing is broken; then the element is named, and in the windows after that it alone.

    Everything is gone after Ctrl-C, the process that delays packets included.
    """
    kind, names, parts, text, symptoms = NAMED[fault]
    with running_demo(traces, "--serve", *ANY_PORT, "--fault", fault, "--json") as (demo, errors, began):
        url = began.removeprefix("the page: ").strip()
        line = errors.readline()
        assert line.startswith(f"broken: {text}"), line
        first = diagnosis_at(url)
        assert (elements(first), first["window"] >= BREAKS_AFTER_WINDOWS) == ([], True)
        wait_until(lambda: elements(diagnosis_at(url)), "nothing was named")
        found = diagnosis_at(url)
        seen = {json.dumps(elements(found))}

        def further() -> bool:
            document = diagnosis_at(url)
            seen.add(json.dumps(elements(document)))
            return bool(document["window"] >= found["window"] + FURTHER_WINDOWS)

        wait_until(further, pause=0.2)
        traces.record()
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0
    assert seen == {json.dumps([[kind, names]])}
    (named,) = found["diagnoses"]
    assert (named["parts"], named["state"]) == (parts, "open")
    assert {each["symptom"] for each in named["evidence"]} <= symptoms
    document = json.loads(output)
    assert document["broken"].startswith(text)
    assert elements(document["diagnosis"]) == [(kind, names)]
    assert [node["zone"] for node in document["matrix"]["nodes"]] == ["a", "a", "b", "b", "c", "c"]
    traces.check_gone()


def test_page_is_served_on_this_machine(traces: Traces) -> None:
    """The address that is printed has the page and a whole matrix; this machine's network is not changed."""
    with running_demo(traces, "--nodes", "4", "--zones", "2", "--serve", *ANY_PORT) as (demo, _, began):
        url = began.removeprefix("the page: ").strip()
        assert b"<title>" in get(url)
        wait_until(lambda: json.loads(get(f"{url}api/v1/matrix"))["states"] == ["-mmm", "m-mm", "mm-m", "mmm-"])
        addresses = subprocess.run(["ip", "-brief", "address"], capture_output=True, text=True, check=True).stdout
        assert "10.77." not in addresses
        demo.send_signal(signal.SIGINT)
        output, errors = demo.communicate(timeout=60)
    assert (demo.returncode, errors) == (0, "")
    assert f"The page: {url}" in output
    assert "RTT in ms, last" in output
    traces.check_gone()


def test_page_and_matrix_are_live_in_a_terminal(traces: Traces) -> None:
    """Address, diagnoses and matrix are drawn again and again; Ctrl-C leaves the last ones, without an error."""
    with Terminal(traces, "--nodes", "3", "--serve", *ANY_PORT) as terminal:
        terminal.read_until(
            lambda shown: min(shown.count("The page: http://127.0.0.1:"), shown.count("RTT in ms, last")) >= 3
        )
        drawn = len(terminal.shown)
        assert terminal.end_by_ctrl_c() == 0, terminal.shown
        last = terminal.shown[drawn:]
    assert "The page: http://127.0.0.1:" in last
    assert " of 3 agents answer" in last
    assert "monlat: " not in terminal.shown
    traces.check_gone()


def test_collector_that_dies_ends_the_demo(traces: Traces) -> None:
    """An error says so, and the agents end, too."""
    with running_demo(traces, "--nodes", "2", "--serve", *ANY_PORT) as (demo, errors, _):
        command_lines = {number: _command_line(number) for number in traces.processes()}
        (collector,) = (number for number, line in command_lines.items() if "demo_collector" in line)
        subprocess.run(["kill", "-KILL", str(collector)], check=True)
        assert demo.wait(timeout=60) == 1
        text = errors.read()
    assert "Traceback" not in text
    assert "monlat: the collector ended" in text
    traces.check_gone()


def _command_line(process_id: int) -> str:
    return Path(f"/proc/{process_id}/cmdline").read_text()


def test_kill_leaves_nothing_of_a_fault(traces: Traces) -> None:
    """After SIGKILL of the demo, relay, collector and agents are gone."""
    with running_demo(traces, "--serve", *ANY_PORT, "--fault", "node") as (demo, errors, _):
        assert errors.readline().startswith("broken: ")
        traces.record()
        assert any("testbed.relay" in _command_line(number) for number in traces.processes())
        demo.kill()
        demo.wait(timeout=20)
    traces.check_gone()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--fault", "node"), "--fault needs --serve"),
        (("--serve", "--fault", "node", "--nodes", "2"), "--fault node needs 3 nodes or more"),
        (("--serve", "--fault", "zone", "--nodes", "6", "--zones", "1"), "--fault zone needs two zones or more"),
        (("--serve", "--fault", "zone", "--nodes", "5", "--zones", "3"), "with 2 nodes each"),
        (("--nodes", "3", "--zones", "4"), "there are only 3 nodes"),
    ],
)
def test_cluster_that_cannot_show_the_fault_is_a_usage_error(arguments: tuple[str, ...], text: str) -> None:
    """One line and status 2, before anything is started."""
    finished = subprocess.run([*DEMO, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert (finished.returncode, finished.stdout) == (2, "")
    (line,) = finished.stderr.splitlines()
    assert text in line


def test_port_in_use_is_one_line(traces: Traces) -> None:
    """Another program has the port: the flag to change is named, and nothing is left."""
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "0"],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
        env={"PYTHONUNBUFFERED": "1"},
    ) as other:
        try:
            assert other.stdout is not None
            port = other.stdout.readline().split("port ")[1].split()[0]
            finished = subprocess.run(
                [*DEMO, "--serve", "--listen", f"127.0.0.1:{port}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
                env=traces.environment,
            )
        finally:
            other.kill()
    assert (finished.returncode, finished.stdout) == (2, "")
    *_, line = finished.stderr.splitlines()
    assert line.startswith(f"monlat: cannot listen on 127.0.0.1:{port}: another program has this port")
    assert "--listen" in line
    traces.check_gone()
