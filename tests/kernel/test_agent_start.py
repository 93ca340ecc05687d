"""Peers files and machines with which an agent starts, refuses to start, or ends."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest

from monlat_ebpf.testbed.namespace import Namespace
from testkit.pair import Pair
from tests.kernel.agents import RunningAgent, entry

PEER = entry("node2", "10.77.0.2")  # where nothing leads to it
NODE2 = entry("node2", "10.77.0.2", "fd77::2")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["- {name: node2, addresses: [node2.example]}\n"], ":1: addresses: 'node2.example' is a host name"),
        (["nodes:\n", "- node2\n"], ":1: "),
    ],
    ids=["host name", "no list"],
)
def test_bad_list_at_start_is_status_2(tmp_path: Path, lines: list[str], expected: str) -> None:
    """The agent does not start: one line names file and line, status 2."""
    with Namespace("agent") as namespace, RunningAgent(namespace, tmp_path, lines, wait=False) as agent:
        assert agent.process.wait(timeout=60) == 2
        (said,) = agent.log().splitlines()
        assert said.startswith(f"monlat: {agent.peers_file}{expected}")


def test_agent_runs_with_an_empty_list(tmp_path: Path) -> None:
    """With an empty list the agent is ready and healthy, and shows no series; peers that are added are measured."""
    with Pair() as pair, RunningAgent(pair["node1"].namespace, tmp_path) as agent:
        assert "nothing is probed" in agent.log()
        assert agent.scrape().one("monlat_peers") == 0
        agent.write_peers([NODE2])
        agent.wait_for_peers("node2")
        assert set(agent.wait_for_replies(7).results()) == {"reply"}
        agent.write_peers([])
        empty = agent.wait_for_scrape(lambda scrape: scrape.one("monlat_peers") == 0)
        assert not [name for name, labels in empty.series if dict(labels).get("to")]
        assert empty.one("monlat_in_flight_probes") == 0
        assert agent.get("/readyz")[0] == 200
        assert agent.get("/healthz")[0] == 200


READ_ONLY = """
for directory in / "$PWD" /tmp /var/tmp; do
    mount --bind "$directory" "$directory" && mount -o remount,bind,ro "$directory" || exit 99
done
cd "$PWD" && exec "$@"
"""


def test_agent_starts_on_a_read_only_root(tmp_path: Path) -> None:
    """No directory for temporary files is writable, and the kernel program loads."""
    before = ("unshare", "--mount", "sh", "-c", READ_ONLY, "sh")
    environment = {"TMPDIR": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    with (
        Namespace("agent") as namespace,
        RunningAgent(namespace, tmp_path, [PEER], before=before, environment=environment) as agent,
    ):
        assert agent.scrape().has("monlat_timestamp_source_info", source="tracepoint", reason="")


NO_PROC = ("unshare", "--mount", "sh", "-c", 'umount -l /proc || exit 99; exec "$@"', "sh")


def test_without_proc_the_tracepoint_source_is_one_line_and_status_1(tmp_path: Path) -> None:
    """The line names what is missing; there is no traceback."""
    with (
        Namespace("agent") as namespace,
        RunningAgent(namespace, tmp_path, [PEER], before=NO_PROC, wait=False) as agent,
    ):
        assert agent.process.wait(timeout=60) == 1
        (said,) = agent.log().splitlines()
        assert said.endswith("mount /proc")


def test_without_proc_auto_falls_back_with_the_reason(tmp_path: Path) -> None:
    """The socket source measures, and the log and the metric say why it is the second choice."""
    with (
        Pair() as pair,
        RunningAgent(pair["node1"].namespace, tmp_path, [NODE2], before=NO_PROC, source="auto") as agent,
    ):
        ((labels, _),) = agent.wait_for_replies(3).matching("monlat_timestamp_source_info")
        assert labels["source"] == "socket"
        assert labels["reason"].endswith("mount /proc")
        assert "Traceback" not in agent.log()


@pytest.mark.parametrize(("kilobytes", "source"), [(60_000, "auto"), (200_000, "tracepoint")])
def test_address_space_limit_is_an_error_and_status_1(tmp_path: Path, kilobytes: int, source: str) -> None:
    """Too little for tables and threads, or for the compiler: the last line says so, and the process ends."""
    before = ("sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh")
    with (
        Namespace("agent") as namespace,
        RunningAgent(namespace, tmp_path, [PEER], before=before, source=source, wait=False) as agent,
    ):
        assert agent.process.wait(timeout=60) == 1, agent.log()
        assert "limit" in agent.log().splitlines()[-1]
        assert "Traceback" not in agent.log()


FOR_THE_OTHER_THREADS = 2 << 20  # bytes; below the 4 MiB that reading the peers file takes


def test_thread_that_fails_ends_the_agent(tmp_path: Path) -> None:
    """Too little memory is left to read the peers file: the log names the thread and the cause, status 1."""
    with Namespace("agent") as namespace, RunningAgent(namespace, tmp_path, [PEER]) as agent:
        status = Path(f"/proc/{agent.process.pid}/status").read_text()
        (kilobytes,) = re.findall(r"VmData:\s+(\d+) kB", status)
        limit = int(kilobytes) * 1024 + FOR_THE_OTHER_THREADS
        resource.prlimit(agent.process.pid, resource.RLIMIT_DATA, (limit, limit))
        agent.write_peers([PEER, entry("node3", "10.77.0.3")])
        assert agent.process.wait(timeout=60) == 1
        (failure,) = (line for line in agent.log().splitlines() if "CRITICAL" in line)
        assert "thread peers-file failed, the agent ends" in failure
        assert failure.endswith("MemoryError")
