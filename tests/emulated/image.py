"""The image for another processor: two agents, run from the image's files as its container would, measure each other.

pytest does not collect this file by its name: scripts/test-kernels runs it inside its virtual machine, where the
image's files are mounted at IMAGE.
"""

from __future__ import annotations

import platform
import subprocess
from contextlib import ExitStack
from pathlib import Path

from monlat_ebpf.errors import AgentUnreachable
from monlat_ebpf.exposition import client
from monlat_ebpf.exposition.api import PairDocument, PeersDocument
from monlat_ebpf.testbed.network import Node
from testkit.pair import Pair
from testkit.waiting import wait_until
from tests.emulated.findings import note

IMAGE = Path("/mnt")
PEERS = "tmp/peers.yaml"
REPLIES = 7
START_SECONDS = 400
"""Both agents compile their program at the same time, on processors that are thirty times slower than real ones."""


def _start(node: Node) -> subprocess.Popen[bytes]:
    """Start the image's entry point as the user that the image names; the file's capabilities are its only ones."""
    return node.namespace.popen(
        [
            *("chroot", "--userspec=65532:65532", "--groups=65532", str(IMAGE)),
            *("/usr/bin/monlat", "agent", "--node-name", node.name, "--source", "tracepoint"),
            *("--peers", f"/{PEERS}", "--interval", "1s", "--timeout", "8s"),
        ],
        env={"PATH": "/usr/bin:/usr/sbin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
    )


def _answers(node: Node, agent: subprocess.Popen[bytes]) -> list[PeersDocument]:
    """Return the answer of the node's agent; none while it starts."""
    assert agent.poll() is None, f"the agent of {node.name} ended with {agent.returncode}; its messages are above"
    with node.namespace.entered():
        try:
            return [client.ask("http://127.0.0.1:10045", timeout_seconds=60)]
        except AgentUnreachable:
            return []


def test_two_agents_of_the_image_measure_each_other() -> None:
    """Both families and both ways, at driver level: 7 replies each, and none of four pairs loses a probe."""
    with Pair() as pair, ExitStack() as stack:
        lines = [f'- {{name: {node.name}, addresses: ["{node.ipv4}", "{node.ipv6}"]}}\n' for node in pair]
        (IMAGE / PEERS).write_text("".join(lines), encoding="ascii")
        agents = {node.name: _start(node) for node in pair}
        for agent in agents.values():
            stack.callback(agent.wait)
            stack.callback(agent.kill)

        def pairs() -> list[PairDocument]:
            answers = [answer for node in pair for answer in _answers(node, agents[node.name])]
            assert {answer["source"] for answer in answers} <= {"tracepoint"}
            return [each for answer in answers for each in answer["pairs"]]

        def all_measure() -> bool:
            return len(found := pairs()) == 4 and min(each["replies"] for each in found) >= REPLIES

        wait_until(all_measure, seconds=START_SECONDS)
        measured = pairs()
    note(f"image on {platform.machine()}: {', '.join(str(each['replies']) for each in measured)} replies")
    assert [each["lost"] for each in measured] == [0, 0, 0, 0]
    assert [each["duplicates"] for each in measured] == [0, 0, 0, 0]
