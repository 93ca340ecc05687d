"""Uninstalling leaves nothing: no namespace, no object of the cluster, no program or map in a node's kernel."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.real_cluster.agents import NAMESPACE, wait
from tests.real_cluster.api import Api
from tests.real_cluster.installing import Installer

pytestmark = pytest.mark.timeout(600)


def objects_named_monlat(api: Api) -> set[str]:
    """Return all objects of the cluster, of every kind that can be listed, whose name or namespace says monlat.

    Events stay for an hour, and the leases, tokens and reviews of other parts are none of ours.
    """
    found = set()
    kinds = api.run("api-resources", "--verbs=list", "--output=name").split()
    listed = ",".join(kind for kind in kinds if not kind.startswith("events"))
    lists = api.run("get", listed, "--all-namespaces", "--ignore-not-found", "--output=json", seconds=120)
    for each in json.loads(lists)["items"] if lists.strip() else ():
        name, namespace = each["metadata"]["name"], each["metadata"].get("namespace", "")
        if "monlat" in name or "monlat" in namespace:
            found.add(f"{each['kind']} {namespace}/{name}")
    return found


def kernel_programs() -> set[int]:
    """Return the numbers of monlat's programs in this machine's kernel, which is that of the own cluster's nodes."""
    for _ in range(20):  # bpftool fails when a program disappears while it lists them
        shown = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True, check=False)
        if shown.returncode == 0:
            return {each["id"] for each in json.loads(shown.stdout) if each.get("name", "").startswith("monlat")}
    raise AssertionError(f"bpftool: {shown.stdout}{shown.stderr}")


def test_uninstalling_leaves_no_object(empty: Installer) -> None:
    """`kubectl delete -k` removes whatever `kubectl apply -k` made, seen in all kinds of objects."""
    assert objects_named_monlat(empty.api) == set()
    empty.apply()
    made = objects_named_monlat(empty.api)
    assert {"Namespace /monlat", "PriorityClass /monlat", "DaemonSet monlat/monlat-agent"} <= made
    empty.api.run("delete", "--kustomize", empty.kustomization("base"), "--timeout=4m")
    wait(lambda: not empty.api.exists(f"/api/v1/namespaces/{NAMESPACE}"), "the namespace stays", 120)
    assert objects_named_monlat(empty.api) == set()


@pytest.mark.own_cluster("looks into the kernel of the nodes, which is this machine's")
def test_uninstalling_leaves_nothing_in_the_kernel(empty: Installer, nodes: list[str]) -> None:
    """The programs that the agents loaded on all nodes are gone."""
    before = kernel_programs()
    empty.apply().wait_complete(nodes)
    loaded = kernel_programs() - before
    assert len(loaded) >= 4 * len(nodes)  # two hooks and two filters each
    empty.remove()
    wait(lambda: not kernel_programs() & loaded, "programs stay in the kernel")
