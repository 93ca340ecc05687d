"""The sizes of base and components follow from what docs/sizing.md says was measured."""

from __future__ import annotations

from math import ceil

import pytest

from monlat_ebpf.config import AgentConfig
from tests.cluster.rendering import Kustomize
from tests.manifest_files import ROOT, agent_of, of_kind

CLIENT_MIB = 23  # of the Kubernetes client: 57 MiB with it, 34.8 MiB with the same 100 peers from a file
ADDRESS_MIB = 10 / 1024
MEASURED = {  # nodes: MiB and per cent of a core, for one address each
    100: (57, 0.6),
    1000: (45 + CLIENT_MIB, 3.0),
    5000: (84 + CLIENT_MIB, 15),
}
LEAST_LIMIT_MIB = 256  # of the compiler
COMPONENTS: dict[int, list[str]] = {100: [], 1000: ["nodes-1000"], 5000: ["nodes-5000"]}


def requests(nodes: int) -> tuple[int, int, int]:
    """Return memory request and limit in MiB, and millicores: for two addresses, a quarter more, rounded up."""
    mib, per_cent = MEASURED[nodes]
    memory = 16 * ceil((mib + nodes * ADDRESS_MIB) * 1.25 / 16)
    return memory, max(2 * memory, LEAST_LIMIT_MIB), 10 * ceil(2 * per_cent * 10 * 1.25 / 10)


@pytest.mark.parametrize("nodes", MEASURED)
def test_requests_are_the_measured_values_for_two_addresses_and_a_quarter(nodes: int, kustomize: Kustomize) -> None:
    """Memory in steps of 16 MiB, the processor in steps of 10 millicores; twice the memory is the limit."""
    memory, limit, millicores = requests(nodes)
    assert agent_of(kustomize.objects(COMPONENTS[nodes]))["resources"] == {
        "requests": {"cpu": f"{millicores}m", "memory": f"{memory}Mi"},
        "limits": {"memory": f"{limit}Mi"},
    }


@pytest.mark.parametrize("nodes", MEASURED)
def test_every_node_of_the_size_may_be_a_peer(nodes: int, kustomize: Kustomize) -> None:
    """With all pairs. The agent's limit is its default, or the component's variable."""
    objects = kustomize.objects([*COMPONENTS[nodes], "all-pairs"])
    variables = {one["name"]: one.get("value") for one in agent_of(objects)["env"]}
    assert variables["MONLAT_PROBE_NEIGHBOURS"] == "all"
    default = AgentConfig.__dataclass_fields__["max_peers"].default
    assert int(variables.get("MONLAT_MAX_PEERS", default)) >= nodes


@pytest.mark.parametrize("nodes", MEASURED)
def test_a_rollout_replaces_one_node_in_a_hundred_at_once(nodes: int, kustomize: Kustomize) -> None:
    """A number: a percentage would let more agents list at once as the cluster grows."""
    daemonset = of_kind(kustomize.objects(COMPONENTS[nodes]), "DaemonSet")["spec"]
    assert daemonset["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": nodes // 100}
    assert daemonset["minReadySeconds"] == 10


def test_document_has_these_numbers() -> None:
    """Each row of its table, in the order of the sizes."""
    rows = {}
    for line in (ROOT / "docs/sizing.md").read_text().splitlines():
        if line.startswith("|"):
            title, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            rows[title] = cells
    memory, limits, millicores = zip(*(requests(nodes) for nodes in MEASURED), strict=True)
    assert rows["memory measured, MiB"] == [str(mib) for mib, _ in MEASURED.values()]
    seconds = [str(round(nodes * ADDRESS_MIB)) for nodes in MEASURED]
    assert rows["memory of a second address for each node, MiB"] == seconds
    assert rows["memory requested, MiB"] == [str(value) for value in memory]
    assert rows["memory limit, MiB"] == [str(value) for value in limits]
    assert rows["processor measured, % of a core"] == [f"{per_cent:g}" for _, per_cent in MEASURED.values()]
    assert rows["processor requested, millicores"] == [str(value) for value in millicores]
