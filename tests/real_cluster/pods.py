"""One agent's pod has a bad day: evicted, out of memory, on a node whose processors are all busy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.manifest_files import Object
from tests.real_cluster.agents import Agents, is_ready, lost, restarts, value, wait

pytestmark = pytest.mark.timeout(600)

LOADED_PROBES: Final = 23
"""Probes that each pair sends while its node is under load."""

HUNGRY: Final = """
import os, time
for _ in range(64):
    if os.fork() == 0:
        os.closerange(0, 3)
        block = bytearray(16 << 20)
        time.sleep(120)
        os._exit(0)
    time.sleep(0.05)
"""
"""Many small processes: the agent becomes the largest of its container, which the kernel then ends. They are 1 GiB:
more than the container's limit, and little enough for a node on which the limit does not hold.
"""


def others_lose_nothing(before: dict[tuple[str, str, str], int], agents: Agents, node: str, nodes: list[str]) -> None:
    """Check that the agents on the other nodes lost no probe: a node's kernel answers without its agent."""
    others = [each for each in nodes if each != node]
    now = lost(agents.pairs(*others))
    assert {key: count for key, count in before.items() if key[0] != node} == now


def test_evicted_agent_comes_back(installed: Agents, nodes: list[str]) -> None:
    """The eviction API takes the pod, the DaemonSet makes another, and nobody loses a probe to the node."""
    node = nodes[0]
    name, before = installed.name_on(node), lost(installed.pairs(*nodes))
    meta = {"name": name, "namespace": installed.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
    path = f"/api/v1/namespaces/{installed.namespace}/pods/{name}/eviction"
    installed.api.run("create", "--raw", path, "--filename", "-", stdin=json.dumps(eviction))
    wait(lambda: installed.name_on(node) != name, "no other pod is ready", 90)
    installed.wait_complete(nodes)
    others_lose_nothing(before, installed, node, nodes)


def test_agent_out_of_memory_comes_back(installed: Agents, nodes: list[str]) -> None:
    """The kernel ends it at the container's limit, the kubelet starts it again; nobody loses a probe to the node."""
    node = nodes[1]
    pod, before = installed.by_node()[node], lost(installed.pairs(*nodes))
    installed.execute(node, "python3", "-c", HUNGRY)  # ends with the container
    wait(lambda: restarts(pod_named(installed, pod)) == restarts(pod) + 1, "the container is not started again", 90)
    ended = pod_named(installed, pod)["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    wait(lambda: is_ready(pod_named(installed, pod)), "the agent is not ready again", 90)
    installed.wait_complete(nodes)
    others_lose_nothing(before, installed, node, nodes)


def pod_named(agents: Agents, pod: Object) -> Object:
    """The pod as it is now."""
    return agents.api.get(f"/api/v1/namespaces/{agents.namespace}/pods/{pod['metadata']['name']}")


@contextmanager
def load_on(agents: Agents, node: str) -> Iterator[None]:
    """Keep the node's processors busy: a pod without limits, with two busy processes for each processor."""
    container = agents.by_node()[node]["spec"]["containers"][0]
    program = "import os\nfor _ in range(2 * os.cpu_count() - 1):\n    if os.fork() == 0: break\nwhile True: pass"
    name = "monlat-test-load"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": agents.namespace},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "load",
                    "image": container["image"],
                    "imagePullPolicy": container["imagePullPolicy"],
                    "command": ["/usr/bin/python3", "-c", program],
                },
            ],
        },
    }
    agents.api.apply([pod])
    try:
        path = f"/api/v1/namespaces/{agents.namespace}/pods/{name}"
        wait(lambda: is_ready(agents.api.get(path)), agents.describe)
        yield
    finally:
        agents.api.run("delete", "pod", name, "--namespace", agents.namespace, "--wait=true")


def test_busy_node_is_measured_like_any_other(installed: Agents, nodes: list[str]) -> None:
    """No probe to or from it is lost, none is skipped for more than a moment, and its agent is not restarted."""
    node = nodes[2]
    pod, before = installed.by_node()[node], installed.pairs(*nodes)
    skipped = value(installed.metrics(node), "monlat_skipped_probes_total")
    with load_on(installed, node):
        replies = {key: pair["replies"] for key, pair in installed.pairs(*nodes).items()}

        def all_measured() -> bool:
            now = installed.pairs(*nodes)
            return all(now[key]["replies"] >= replies[key] + LOADED_PROBES for key in replies)

        wait(all_measured, "a pair is not measured under load", 120)
        now = installed.pairs(*nodes)
        assert lost(now) == lost(before)
        sent = sum(pair["sent"] - before[key]["sent"] for key, pair in now.items() if key[0] == node)
        assert value(installed.metrics(node), "monlat_skipped_probes_total") - skipped <= sent / 10
    assert pod_named(installed, pod)["status"]["containerStatuses"][0]["restartCount"] == restarts(pod)
    assert is_ready(pod_named(installed, pod))
