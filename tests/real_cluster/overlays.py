"""Every overlay of the manifests installs, and its agents measure every pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.manifest_files import MANIFESTS, OVERLAYS, Object
from tests.real_cluster.agents import NAMESPACE, Agents, wait
from tests.real_cluster.api import Api
from tests.real_cluster.installing import POD_NETWORK, Installer
from tests.real_cluster.own_cluster import OwnCluster

pytestmark = pytest.mark.timeout(600)

LABEL = "monlat/agent"
SECCOMP = "/var/lib/kubelet/seccomp"
OPERATOR = {"PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"}
"""Kinds of the Prometheus operator that an overlay makes, and their plural names."""


def definition(kind: str) -> Object:
    """A definition of one of the operator's kinds that takes any content."""
    group = "monitoring.coreos.com"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{OPERATOR[kind]}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": OPERATOR[kind], "singular": kind.lower()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                }
            ],
        },
    }


def measured(agents: Agents, nodes: Sequence[str]) -> None:
    pairs = agents.wait_complete(nodes)
    assert {pair["source"] for pair in pairs.values()} == {"tracepoint"}


def test_every_overlay_has_its_test() -> None:
    """A new overlay needs a test here."""
    names = (name.partition("test_overlay_") for name in globals())
    assert {rest.replace("_", "-") for before, found, rest in names if found and not before} == set(OVERLAYS)


def test_overlay_privileged(empty: Installer, nodes: list[str]) -> None:
    """Privileged pods, as root."""
    measured(empty.apply("overlays/privileged"), nodes)


@pytest.mark.own_cluster("writes the profile on each node")
def test_overlay_localhost_seccomp(empty: Installer, own: OwnCluster, nodes: list[str]) -> None:
    """The profile lies on every node, where the kubelet looks for it."""
    profile = (MANIFESTS / "seccomp/monlat.json").read_text()
    for node in range(1, len(nodes) + 1):
        own.on_node(node, "mkdir", "-p", SECCOMP)
        own.on_node(node, "tee", f"{SECCOMP}/monlat.json", stdin=profile)
    agents = empty.apply("overlays/localhost-seccomp")
    measured(agents, nodes)
    security = agents.by_node()[nodes[0]]["spec"]["securityContext"]
    assert security["seccompProfile"] == {"type": "Localhost", "localhostProfile": "monlat.json"}


def test_overlay_pod_network(empty: Installer, nodes: list[str]) -> None:
    """The agents probe each other's pods, which have other addresses than the nodes. It stands beside the base."""
    pods = empty.apply("overlays/pod-network", POD_NETWORK)
    hosts = empty.apply()
    pairs = pods.wait_complete(nodes)
    host_addresses = {pair["address"] for pair in hosts.wait_complete(nodes).values()}
    assert {pair["address"] for pair in pairs.values()} & host_addresses == set()


@pytest.fixture
def operator_kinds(api: Api) -> Iterator[None]:
    """The operator's two kinds, unless the cluster has them."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    made = [definition(kind) for kind in OPERATOR if not api.exists(f"{path}/{OPERATOR[kind]}.monitoring.coreos.com")]
    if made:
        api.apply(made)
    served = [f"/apis/monitoring.coreos.com/v1/{plural}" for plural in OPERATOR.values()]
    wait(lambda: all(map(api.exists, served)), "the operator's kinds are not served")
    yield
    for each in made:
        api.run("delete", "customresourcedefinition", each["metadata"]["name"])


def test_overlay_prometheus_operator(empty: Installer, operator_kinds: None, nodes: list[str]) -> None:
    """The monitor and the rules are in the agents' namespace."""
    measured(empty.apply("overlays/prometheus-operator"), nodes)
    for plural in OPERATOR.values():
        path = f"/apis/monitoring.coreos.com/v1/namespaces/{NAMESPACE}/{plural}"
        assert len(empty.api.items(path)) == 1


def test_overlay_selected_nodes(empty: Installer, nodes: list[str]) -> None:
    """Two labelled nodes are measured; a third joins with its label, and leaves with it."""
    *first, third = nodes[:3]
    try:
        empty.api.run("label", "node", *first, f"{LABEL}=true")
        agents = empty.apply("overlays/selected-nodes")
        agents.wait_complete(first)
        empty.api.run("label", "node", third, f"{LABEL}=true")
        agents.wait_complete([*first, third])
        empty.api.run("label", "node", third, f"{LABEL}-")
        wait(lambda: set(agents.by_node()) == set(first), "its agent stays")
    finally:
        empty.api.run("label", "node", *nodes, f"{LABEL}-")
    wait(lambda: not agents.by_node(), "agents stay without a label")
