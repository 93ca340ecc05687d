"""`monlat demo` as a user runs it: its output, and that it leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.kernel.leftovers import networks_in_use
from tests.kernel.running_demo import DEMO, Terminal, Traces, running_demo

RTT_KEYS = {"last", "p50", "p99", "min", "max"}
PAIR_KEYS = {"from", "to", "family", "sent", "replies", "lost", "rtt_seconds"}
TITLE = "RTT in ms, last"
AS_NOBODY = ("unshare", "--user")  # without a mapping of users, root is user 65534


def test_json_is_the_matrix_of_all_pairs(traces: Traces) -> None:
    """3 nodes for 5 s: 6 ordered pairs, all probes answered, and only JSON on standard output."""
    with running_demo(traces, "--nodes", "3", "--seconds", "5", "--json") as (demo, _, _):
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0
    document = json.loads(output)
    assert document.keys() == {"source", "nodes", "pairs"}
    assert document["source"] == "tracepoint"
    assert document["nodes"] == ["node1", "node2", "node3"]
    assert [(pair["from"], pair["to"]) for pair in document["pairs"]] == [
        (one, other) for one in document["nodes"] for other in document["nodes"] if one != other
    ]
    for pair in document["pairs"]:
        assert pair.keys() == PAIR_KEYS
        assert pair["rtt_seconds"].keys() == RTT_KEYS
        assert pair["family"] == "ipv4"
        assert pair["sent"] == pair["replies"] + pair["lost"]
        assert pair["lost"] == 0
        assert pair["replies"] > 0
        rtt = pair["rtt_seconds"]
        assert 0 < rtt["min"] <= rtt["p50"] <= rtt["p99"] <= rtt["max"] < 1
        assert rtt["min"] <= rtt["last"] <= rtt["max"]
    assert (len(traces.objects.programs), len(traces.objects.maps)) == (3 * 7, 3 * 7)
    assert len(traces.networks) == 4  # three nodes and their switch
    traces.check_gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_it_with_the_matrix(traces: Traces, number: signal.Signals) -> None:
    """Status 0, the final matrix, a command for each node's /metrics, and nothing is left."""
    with running_demo(traces, "--nodes", "2", "--seconds", "0") as (demo, _, _):
        demo.send_signal(number)
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0
    title, head, *rest = output.splitlines()
    assert title == "RTT in ms, last"
    assert head.split() == ["FROM", "\\", "TO", "node1", "node2"]
    assert [line.split()[0] for line in rest[:2]] == ["node1", "node2"]
    assert sum("/metrics" in line and "nsenter" in line for line in rest) == 2
    traces.check_gone()


def test_printed_command_shows_a_nodes_metrics(traces: Traces) -> None:
    """The command that the demo prints for node1 scrapes node1 when a shell runs it."""
    with running_demo(traces, "--nodes", "2", "--seconds", "0") as (_, errors, _):
        name, command = errors.readline().strip().split(":", 1)
        assert name == "node1"
        command = command.strip().removeprefix("sudo ")
        shown = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout
        assert 'latency_between_nodes{from="node1",to="node2"} ' in shown
    traces.check_gone()


def test_kill_of_a_running_demo_leaves_nothing(traces: Traces) -> None:
    """After SIGKILL, agents, programs, maps and namespaces are gone too."""
    with running_demo(traces, "--nodes", "2", "--seconds", "0") as (demo, _, _):
        assert traces.networks <= networks_in_use()
        demo.kill()
        demo.wait(timeout=20)
    assert (len(traces.objects.programs), len(traces.networks)) == (2 * 7, 3)
    traces.check_gone()


def test_agent_that_dies_ends_the_demo_with_its_name(traces: Traces) -> None:
    """An error names the node of the agent, the status is 1, and the other agent ends too."""
    with running_demo(traces, "--nodes", "2", "--seconds", "0") as (demo, stream, _):
        (victim,) = (number for number in traces.processes() if "\0--node-name\0node2\0" in _command_line(number))
        os.kill(victim, signal.SIGKILL)
        errors = stream.read()
        assert demo.wait(timeout=20) == 1
    assert "monlat: the agent of node2 ended" in errors
    assert "Traceback" not in errors
    traces.check_gone()


def _command_line(process_id: int) -> str:
    return Path(f"/proc/{process_id}/cmdline").read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("attempt", range(3))
def test_signal_while_it_starts_leaves_nothing(traces: Traces, number: signal.Signals, attempt: int) -> None:
    """At a random time in its first 3 s, in which it makes nodes and loads programs most of the time."""
    with subprocess.Popen(
        [*DEMO, "--nodes", "2", "--seconds", "0"],
        env=traces.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as demo:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                demo.wait(timeout=random.uniform(0.1, 3.0))
            traces.record()
            demo.send_signal(number)
            demo.wait(timeout=60)
        finally:
            demo.kill()
    traces.check_gone()


def test_matrix_is_live_in_a_terminal(traces: Traces) -> None:
    """The matrix is redrawn in place, with the commands below it, and the last one stays after Ctrl-C.

    Ctrl-C goes to the agents, too, if they are in the foreground: they still answer the demo's last question.
    """
    with Terminal(traces, "--nodes", "2", "--seconds", "0", columns=160) as terminal:
        terminal.read_until(lambda shown: shown.count(TITLE) >= 3)
        assert terminal.end_by_ctrl_c() == 0, terminal.shown
    drawings = terminal.shown.split(TITLE)
    assert len(drawings) - 1 > 3
    for drawing in drawings[1:]:
        assert "node1" in drawing
        assert "node2" in drawing
    for erased in drawings[1:-2]:
        assert "\x1b[2K" in erased  # the cursor goes back and the line is erased
    assert "/metrics" in drawings[-1]
    assert "monlat: " not in terminal.shown
    traces.check_gone()


def test_one_node_is_too_few(traces: Traces) -> None:
    """One line and status 2."""
    finished = subprocess.run([*DEMO, "--nodes", "1"], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (2, "")
    (line,) = finished.stderr.splitlines()
    assert line.startswith("monlat: ")
    assert "--nodes" in line


def test_missing_root_is_one_line() -> None:
    """A user who may not make namespaces reads what is needed, not a traceback."""
    finished = subprocess.run([*AS_NOBODY, *DEMO, "--nodes", "2"], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (1, "")
    *_, line = finished.stderr.splitlines()
    assert line.startswith("monlat: ")
    assert "root" in line
    assert "Traceback" not in finished.stderr
