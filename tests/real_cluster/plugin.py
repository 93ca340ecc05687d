"""`kubectl monlat`, as somebody who has no login on the nodes uses it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

from tests.real_cluster.agents import NAMESPACE, Agents, ordered_pairs, wait
from tests.real_cluster.installing import Installer


def plugin(agents: Agents, *arguments: str) -> subprocess.CompletedProcess[str]:
    return agents.api.start("monlat", *arguments)


def test_matrix_of_all_agents(installed: Agents, nodes: list[str]) -> None:
    """A row and a column for each node, a number for each pair."""
    done = plugin(installed)
    assert (done.returncode, done.stderr) == (0, "")
    title, heading, *rows = done.stdout.splitlines()
    assert title == "RTT in ms, last"
    assert heading.split()[3:] == nodes
    for row, node in zip(rows, nodes, strict=True):
        name, *cells = row.split()
        assert name == node
        assert [cell for cell in cells if cell != "-" and not re.fullmatch(r"\d+\.\d{3}", cell)] == []
        assert cells[nodes.index(node)] == "-"


def test_commands_about_the_cluster(empty: Installer, nodes: list[str]) -> None:
    """Without the collector, the component to add is named. With it, every pair is shown and nothing is broken."""
    agents = empty.apply()
    agents.wait_complete(nodes)
    for command, status in (("matrix", 1), ("diagnose", 2)):
        done = plugin(agents, command)
        assert (done.returncode, done.stdout) == (status, "")
        assert "manifests/components/collector" in done.stderr
    agents = empty.apply(components=["collector"])
    agents.api.run("rollout", "status", "deployment/monlat", "--namespace", NAMESPACE, "--timeout=240s")

    def numbers() -> int:
        rows = (line.split() for line in plugin(agents, "matrix").stdout.splitlines())
        return sum(cell.replace(".", "", 1).isdigit() for row in rows if row and row[0] in nodes for cell in row[1:])

    wait(lambda: numbers() == len(ordered_pairs(nodes)), "pairs are missing")
    wait(lambda: plugin(agents, "diagnose").returncode == 0, "something is said to be broken, or nothing is known")


def test_commands_on_a_node(installed: Agents, nodes: list[str]) -> None:
    """The output and the exit status are those of the command in the pod."""
    node, peer, *_ = nodes
    for arguments, text in {
        ("peers",): peer,
        ("explain", peer): f"{node} ",
        ("doctor",): "driver level here",
        ("ping", "-c", "1", "127.0.0.1"): "1 sent, 1 replies",
    }.items():
        done = plugin(installed, *arguments, "--node", node)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        assert text in done.stdout
    done = plugin(installed, "explain", "nobody", "--node", node)
    assert done.returncode == 2
    assert "nobody" in done.stderr


def test_watch_in_a_terminal_ends_with_ctrl_c(installed: Agents, nodes: list[str]) -> None:
    """It shows the peers, and leaves no process in the pod."""
    node, peer, *_ = nodes
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "kubectl", "monlat", "watch", "--node", node],
        env=installed.api.environment,
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    shown = b""
    try:
        while peer.encode() not in shown:
            shown += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    listed = installed.execute(node, "python3", "-c", _PROCESSES)
    assert listed.returncode == 0, listed.stderr
    assert "watch" not in listed.stdout


_PROCESSES = """
import glob
for name in glob.glob("/proc/[0-9]*/cmdline"):
    try:
        print(open(name).read().replace(chr(0), " "))
    except OSError:
        pass
"""


def test_what_is_missing_is_named(installed: Agents) -> None:
    """By the real API server's answers: no such node, no such namespace, a namespace without agents."""
    for arguments, text in {
        ("--node", "nobody"): "there is no node nobody",
        ("--node", "nobody", "--namespace", "nowhere"): "there is no namespace nowhere",
        ("--node", "nobody", "--namespace", "default"): "the namespace default has no agents",
    }.items():
        done = plugin(installed, "peers", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert text in done.stderr


def test_user_without_rights_sees_the_servers_message(installed: Agents, nodes: list[str], tmp_path: Path) -> None:
    """kubectl's own message says which right is missing."""
    configuration = json.loads(installed.api.run("config", "view", "--raw", "--flatten", "--output", "json"))
    for user in configuration["users"]:
        user["user"]["as"] = "nobody"
    (tmp_path / "config").write_text(json.dumps(configuration))
    done = plugin(installed, "peers", "--node", nodes[0], "--kubeconfig", str(tmp_path / "config"))
    assert (done.returncode, done.stdout) == (1, "")
    assert 'User "nobody" cannot list resource "pods"' in done.stderr
