"""Fixtures of this folder: a real cluster, and monlat in it.

pytest does not collect these files by their names: scripts/test-cluster runs them. A test marked `own_cluster` cuts the
power of nodes or kills the API server, and runs only in a cluster that belongs to the tests. In any other, the end of
the output names it with the mark's reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.programs import tool
from tests.real_cluster.agents import Agents, wait
from tests.real_cluster.api import Api
from tests.real_cluster.installing import NAMESPACES, Installer
from tests.real_cluster.own_cluster import JOINING, OwnCluster

NOT_RUN = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "own_cluster(reason): runs only in a cluster of the tests' own, because it ...")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another cluster than the tests' own does not allow."""
    if "MONLAT_CLUSTER" in os.environ:
        return
    left_out = {item: mark for item in items if (mark := item.get_closest_marker("own_cluster"))}
    config.stash[NOT_RUN] = [f"{item.nodeid}: it {mark.args[0]}" for item, mark in left_out.items()]
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(NOT_RUN, []):
        terminalreporter.write_line(f"NOT RUN, because the cluster is not the tests' own: {line}")


def _setting(name: str) -> str:
    assert name in os.environ, f"{name} is not set: run scripts/test-cluster"
    return os.environ[name]


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    """The cluster of KUBECONFIG."""
    with Api(tool("kubectl"), _setting("KUBECONFIG")) as api:
        yield api


@pytest.fixture(scope="session")
def own(api: Api) -> OwnCluster:
    """The cluster as the tests' own, with the nodes that join and leave left out."""
    _setting("MONLAT_CLUSTER")
    own = OwnCluster.of_environment(api)
    for node in JOINING:
        if f"node{node}" in api.nodes():
            own.remove_node(node)
    return own


@pytest.fixture(scope="session")
def nodes(api: Api, request: pytest.FixtureRequest) -> list[str]:
    """The nodes that stay, by name."""
    if "MONLAT_CLUSTER" in os.environ:
        request.getfixturevalue("own")
    names = api.ready_nodes()
    assert len(names) >= 3, f"three nodes are needed, and the cluster has {names}"
    return names


@pytest.fixture(scope="session")
def installer(api: Api, nodes: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installer]:
    """Refuse a cluster that has an installation, which the tests would remove."""
    present = [name for name in NAMESPACES if api.exists(f"/api/v1/namespaces/{name}")]
    assert present == [], f"this cluster has {present} already, and the tests would remove it"
    installer = Installer(api, tool("helm"), _setting("MONLAT_IMAGE"), tmp_path_factory.mktemp("installing"))
    yield installer
    installer.remove()


@pytest.fixture
def empty(installer: Installer) -> Installer:
    """Installs into a cluster that has no agents."""
    installer.remove()
    return installer


@pytest.fixture
def installed(installer: Installer, nodes: list[str]) -> Agents:
    """The base of the manifests on all nodes, with agents that measure every pair. It stays for the next test."""
    agents = installer.apply()
    wait(lambda: set(agents.by_node()) == set(nodes), lambda: f"agents are not on {nodes}: {agents.describe()}")
    agents.wait_complete(nodes)
    return agents
