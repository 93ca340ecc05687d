"""How the agent starts and ends: with the right status, and nothing is left of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from monlat_ebpf.abi import layout
from monlat_ebpf.model import Family
from monlat_ebpf.testbed.namespace import Namespace
from testkit.pair import Pair
from testkit.waiting import wait_until
from tests.kernel.agents import PORT, RunningAgent, entry
from tests.kernel.leftovers import maps_of_size, objects_of_process, processes_with

NODE2 = entry("node2", "10.77.0.2", "fd77::2")
NOBODY = entry("nobody", "10.77.0.99")
HOOKS, PROGRAMS, MAPS = 5, 7, 7
LOADER = "monlat_ebpf.sources.tracepoint.child"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_measuring_agent(tmp_path: Path, number: signal.Signals) -> None:
    """Status 0 and nothing left in the kernel, though probes are in flight and an HTTP client is silent.

    The agent waits for neither: it lets a silent client stay for 75 s, and the test for less.
    """
    with Pair() as pair, RunningAgent(pair["node1"].namespace, tmp_path, [NODE2, NOBODY], timeout="700ms") as agent:
        agent.wait_for_replies(3, to="node2")
        objects = objects_of_process(agent.process.pid)
        assert (len(objects.programs), len(objects.maps)) == (PROGRAMS, MAPS)
        assert len(objects.alive()) == PROGRAMS + MAPS + HOOKS
        with agent.namespace.entered(), socket.create_connection(("127.0.0.1", PORT)):
            agent.end_with(number)
        assert agent.process.returncode == 0
        objects.wait_until_gone()
        assert "Traceback" not in agent.log()


def test_sigterm_ends_an_agent_that_is_still_loading(tmp_path: Path) -> None:
    """Status 0, and the loader goes as well, though it is stopped and would never finish.

    The agent is the first process of a PID namespace, as in a container: no signal ends that one by default.
    """
    before = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    with Namespace("agent") as namespace, RunningAgent(namespace, tmp_path, before=before, wait=False) as agent:
        mark = str(agent.temporary)
        _stop_loader(mark)
        (first_process,) = _running("monlat_ebpf\0agent", mark) - {agent.process.pid}
        agent.end_with(signal.SIGTERM, first_process)
        assert agent.process.returncode == 0, agent.log()
        wait_until(lambda: not processes_with(mark))
        assert "Traceback" not in agent.log()


def _stop_loader(mark: str) -> None:
    """Stop the loader as it compiles."""
    wait_until(lambda: bool(_running(LOADER, mark)))
    (loader,) = _running(LOADER, mark)
    wait_until(lambda: "libbcc" in Path(f"/proc/{loader}/maps").read_text())
    os.kill(loader, signal.SIGSTOP)


def _running(part: str, mark: str) -> set[int]:
    """The processes with `mark` in their environment and `part` in their command line."""
    return {number for number in processes_with(mark) if part in _command_line(number)}


def _command_line(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("moment", [0.05, 0.2, 0.4, 0.6, 0.8, 1.1, 1.5])
def test_kill_at_any_moment_leaves_nothing(tmp_path: Path, moment: float) -> None:
    """Killed so many seconds after its start, loading or not: no process, map, program or file is left."""
    # A size that no other agent on this machine has. A program that lives on would keep its maps.
    max_peers = 1_000 + int(100 * moment)
    entries = max_peers * len(Family) * layout.PROBES_PER_TARGET
    with Pair() as pair:
        agent = RunningAgent(
            pair["node1"].namespace, tmp_path, [NODE2], more=("--max-peers", str(max_peers)), wait=False
        )
        with agent, pytest.raises(subprocess.TimeoutExpired):
            agent.process.wait(timeout=moment)
        assert agent.process.returncode == -signal.SIGKILL
        wait_until(lambda: not processes_with(str(agent.temporary)))
        wait_until(lambda: not maps_of_size(entries))
        assert list(agent.temporary.iterdir()) == []


def test_kill_takes_a_hanging_loader_along(tmp_path: Path) -> None:
    """A loader that is stopped would never end by itself; it dies with the agent."""
    with Namespace("agent") as namespace, RunningAgent(namespace, tmp_path, wait=False) as agent:
        mark = str(agent.temporary)
        _stop_loader(mark)
        try:
            agent.end_with(signal.SIGKILL)
            wait_until(lambda: not processes_with(mark))
        finally:
            for left in processes_with(mark):
                os.kill(left, signal.SIGKILL)


def test_kill_of_a_measuring_agent_leaves_nothing(tmp_path: Path) -> None:
    """Killed while it measures: 4 programs and 7 maps go, among them the maps that the tests above look for."""
    more = ("--max-peers", "2003")
    with Pair() as pair, RunningAgent(pair["node1"].namespace, tmp_path, [NODE2], more=more) as agent:
        agent.wait_for_replies(3, to="node2")
        objects = objects_of_process(agent.process.pid)
        assert (len(objects.programs), len(objects.maps)) == (PROGRAMS, MAPS)
        probes = 2003 * len(Family) * layout.PROBES_PER_TARGET
        for entries in (probes, probes * layout.STREAMS):  # of probes, of exchanges
            assert len(maps_of_size(entries).intersection(objects.maps)) == 1
        assert processes_with(str(agent.temporary)) == {agent.process.pid}
        agent.end_with(signal.SIGKILL)
        objects.wait_until_gone()
        assert list(agent.temporary.iterdir()) == []


def test_port_in_use_is_one_line_and_status_2(tmp_path: Path) -> None:
    """The line names the address and the flag that changes it."""
    with Namespace("agent") as namespace:
        with namespace.entered():
            taken = socket.create_server(("::", PORT), family=socket.AF_INET6)
        with taken, RunningAgent(namespace, tmp_path, wait=False) as agent:
            assert agent.process.wait(timeout=60) == 2
            (line,) = agent.log().splitlines()
            assert line.startswith("monlat: ")
            assert f"[::]:{PORT}" in line
            assert "--listen" in line


def test_two_agents_on_one_node_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Same peers, two ports, one namespace: each has at least 53 replies of each family and nothing else."""
    with Pair() as pair:
        namespace = pair["node1"].namespace
        first = RunningAgent(namespace, tmp_path, [NODE2], node="node1", timeout="700ms")
        second = RunningAgent(namespace, tmp_path, [NODE2], node="other", port=PORT + 1, timeout="700ms")
        with first, second:
            for agent in (first, second):
                scrape = agent.wait_for_replies(53)
                for family in Family:
                    assert set(scrape.results(family=family)) == {"reply"}
                assert scrape.total("monlat_late_replies_total") == 0
                assert scrape.total("monlat_duplicate_replies_total") == 0
                latest = agent.pair("node2")["rtt_seconds"]
                assert latest["max"] is not None
                assert latest["max"] < 0.7
