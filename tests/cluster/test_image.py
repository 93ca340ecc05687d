"""Build the image from the Dockerfile and run it as the DaemonSet's manifest says, against an API server."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testkit.links import Links
from testkit.waiting import wait_until
from tests.cluster.containers import Container
from tests.cluster.image import ROOT, Image, podman
from tests.cluster.virtual_cluster import VirtualCluster
from tests.manifest_files import MANIFESTS, Object, container_of, objects_in, pod_of

pytestmark = pytest.mark.timeout(900)  # the first test builds the image

AGENTS = ("node1", "node2", "node3")
FAMILIES = ("ipv4", "ipv6")
CAPABILITY_BITS = {"NET_RAW": 13, "PERFMON": 38, "BPF": 39}  # linux/capability.h
XATTR = "security.capability"  # the attribute that holds a file's capabilities


@pytest.fixture
def pod() -> Object:
    """The pod of manifests/monlat.yaml, with the seccomp profile of the component localhost-seccomp.

    The manifest's RuntimeDefault is a profile of the container runtime, and runc has none.
    """
    pod = pod_of(objects_in((MANIFESTS / "monlat.yaml").read_text()))
    patch = pod_of(objects_in((MANIFESTS / "components/localhost-seccomp/daemonset.yaml").read_text()))
    pod["securityContext"] |= patch["securityContext"]
    return pod


@pytest.fixture
def cluster(image: Image, tmp_path: Path) -> Iterator[VirtualCluster]:
    """Four nodes, of which the API server lists the first three."""
    with VirtualCluster(4, image, tmp_path) as cluster:
        for name in AGENTS:
            cluster.add_member(name)
        cluster.list_members()
        yield cluster


@pytest.fixture
def image_files(image: Image) -> Iterator[Path]:
    """The image's file system, mounted."""
    yield Path(podman("image", "mount", image.name))
    podman("image", "unmount", image.name)


def held(container: Container, kind: str) -> set[int]:
    """Return the bits of one capability set of the container's first process, from /proc."""
    bits = int(container.status()[kind], 16)
    return {bit for bit in range(64) if bits >> bit & 1}


def ended(container: Container) -> int:
    """Return the exit status of a container that ends without being stopped."""
    return container.wait(seconds=60)


def test_three_agents_measure_every_pair_and_follow_the_list(cluster: VirtualCluster, pod: Object) -> None:
    """All six ordered pairs, both families, at driver level; agents follow a node that joins, moves or is replaced."""
    agents = [cluster.agent(name, pod) for name in AGENTS]

    def all_measure(*nodes: str, count: int = 1) -> Callable[[], bool]:
        pairs = {name: {(node, family) for node in nodes if node != name for family in FAMILIES} for name in AGENTS}

        def is_so() -> bool:
            seen = {name: cluster.pairs(name) for name in AGENTS}
            replies = [pair["replies"] for known in seen.values() for pair in known.values()]
            return {name: set(known) for name, known in seen.items()} == pairs and min(replies) >= count

        return is_so

    wait_until(all_measure(*AGENTS, count=5), seconds=60)
    measured = [pair for name in AGENTS for pair in cluster.pairs(name).values()]
    assert len(measured) == 12
    assert {pair["source"] for pair in measured} == {"tracepoint"}
    assert {pair["lost"] for pair in measured} == {0}
    assert 'latency_between_nodes{from="node1",to="node2"} ' in cluster.get("node1", "/metrics")
    assert cluster.get("node1", "/readyz")  # raises when the status is not 200

    cluster.add_member("node4")
    cluster.list_members()
    wait_until(all_measure(*AGENTS, "node4"))

    with Links(cluster.network["node4"].namespace) as links:
        links.add_address("eth0", "10.77.0.44/24")
    cluster.members["node4"] = ("10.77.0.44", "fd77::4")
    cluster.list_members()

    def all_use_the_new_address() -> bool:
        known = [cluster.pairs(name)["node4", "ipv4"] for name in AGENTS]
        return all(pair["address"] == "10.77.0.44" and pair["replies"] > 0 for pair in known)

    wait_until(all_use_the_new_address)

    # a node that leaves stays for a minute, except if another one has its addresses
    cluster.members["node5"] = cluster.members.pop("node4")
    cluster.list_members()
    wait_until(all_measure(*AGENTS, "node5"))
    assert {pair["lost"] for name in AGENTS for pair in cluster.pairs(name).values()} == {0}

    assert [agent.stop() for agent in agents] == [0, 0, 0]


def test_running_agent_holds_no_capability(cluster: VirtualCluster, pod: Object) -> None:
    """It has dropped all three, cannot regain one, filters system calls and is not root."""
    agent = cluster.agent("node1", pod)
    wait_until(lambda: bool(cluster.pairs("node1")))
    given = {CAPABILITY_BITS[name] for name in container_of(pod)["securityContext"]["capabilities"]["add"]}
    assert given == set(CAPABILITY_BITS.values())
    status = agent.status()
    assert status["Uid"].split() == ["65532"] * 4
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"  # a filter
    assert held(agent, "CapBnd") == given
    for of in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert held(agent, of) == set()


@pytest.mark.parametrize("capability", CAPABILITY_BITS)
def test_without_any_one_capability_the_agent_fails_and_names_it(
    capability: str, cluster: VirtualCluster, pod: Object
) -> None:
    """The agent needs all three to measure at driver level; its last message names the missing one."""
    container = container_of(pod)
    container["securityContext"]["capabilities"]["add"].remove(capability)
    container["args"] += ["--source", "tracepoint"]
    agent = cluster.agent("node1", pod)
    assert ended(agent) == 1
    assert f"CAP_{capability}" in agent.log.splitlines()[-1]


def test_root_without_escalation_measures_at_driver_level(cluster: VirtualCluster, pod: Object) -> None:
    """The manifest's alternative for clusters whose policy requires allowPrivilegeEscalation: false."""
    pod["securityContext"] |= {"runAsNonRoot": False, "runAsUser": 0, "runAsGroup": 0}
    container_of(pod)["securityContext"]["allowPrivilegeEscalation"] = False
    cluster.agent("node1", pod)
    wait_until(lambda: any(pair["replies"] > 0 for pair in cluster.pairs("node1").values()))
    assert {pair["source"] for pair in cluster.pairs("node1").values()} == {"tracepoint"}


def test_other_commands_run_beside_the_agent(cluster: VirtualCluster, pod: Object) -> None:
    """They run as with `kubectl exec`, under the same filter of system calls."""
    agent = cluster.agent("node1", pod)
    wait_until(lambda: bool(cluster.pairs("node1")))
    expected = {
        "peers --json": '"node2"',
        "explain node2": "eth0",
        "ping -c 1 10.77.0.2": "1 sent, 1 replies",
        "doctor": "driver level here",
    }
    for command, text in expected.items():
        done = agent.execute("monlat", *command.split())
        assert done.returncode == 0, done.stdout + done.stderr
        assert text in done.stdout


def test_the_image_has_one_entry_point_and_labels(image: Image) -> None:
    """`monlat`, as a user that is not root, with the labels that registries show."""
    assert image.configuration["Entrypoint"] == ["monlat"]
    assert image.configuration["User"] == "65532:65532"
    labels = {name.removeprefix("org.opencontainers.image.") for name in image.configuration["Labels"]}
    assert labels >= {"title", "description", "version", "revision", "licenses", "base.name"}


def test_only_the_starter_grants_privileges(image_files: Path) -> None:
    """No file is set-user-ID; only the starter has capabilities: the three, permitted but not effective."""
    files = [path for path in image_files.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)] == []
    granting = {path: os.getxattr(path, XATTR) for path in files if XATTR in os.listxattr(path)}
    bits = sum(1 << bit for bit in CAPABILITY_BITS.values())
    fields = (0x02000000, bits & 0xFFFFFFFF, 0, bits >> 32, 0)  # VFS_CAP_REVISION_2, and no effective bit
    assert granting == {image_files / "usr/bin/monlat": b"".join(field.to_bytes(4, "little") for field in fields)}


def test_no_tool_is_left_in_the_image(image_files: Path) -> None:
    """No shell, no package manager, no compiler but BCC's LLVM."""
    folders = [
        image_files / name for name in ("usr/bin", "usr/sbin", "opt/monlat/bin") if (image_files / name).is_dir()
    ]
    programs = {path.name for folder in folders for path in folder.iterdir()}
    assert "monlat" in programs
    assert not programs & {
        "sh",
        "bash",
        "dash",
        "perl",
        "apt",
        "apt-get",
        "dpkg",
        "pip",
        "pip3",
        "gcc",
        "cc",
        "ld",
        "as",
    }
    assert list(image_files.glob("opt/monlat/lib/python3*/site-packages/pip")) == []


def test_the_image_stays_small(image: Image) -> None:
    """Unpacked, under 400 MB, 230 of which are LLVM, Clang and their libraries."""
    assert image.size < 400_000_000


def test_bill_of_materials_lists_every_package_in_the_image(image_files: Path) -> None:
    """Debian's packages as status.d names them, Python's as their folders do; wheels are those of the lock."""
    bill = json.loads((image_files / "usr/share/sbom/monlat.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    found = {kind: {} for kind in ("deb", "pypi")}  # type: dict[str, dict[tuple[str, str], Object]]
    for each in [bill["metadata"]["component"], *bill["components"]]:
        kind = each["purl"].removeprefix("pkg:").partition("/")[0]
        found[kind][each["name"], each["version"]] = each

    installed = set()
    for status in (image_files / "var/lib/dpkg/status.d").iterdir():
        fields = dict(re.findall(r"^(Package|Version): (.*)$", status.read_text(), re.MULTILINE))
        installed.add((fields["Package"], fields["Version"]))
    assert set(found["deb"]) == installed
    assert len(installed) > 30
    assert all(re.fullmatch("[0-9a-f]{64}", each["hashes"][0]["content"]) for each in found["deb"].values())
    assert {"python3", "libclang1-19"} & {name for name, _ in found["deb"]}

    folders = image_files.glob("opt/monlat/lib/python3*/site-packages/*.dist-info")
    wheels = {tuple(path.name.removesuffix(".dist-info").lower().replace("_", "-").rsplit("-", 1)) for path in folders}
    assert {(name.lower().replace("_", "-"), version) for name, version in found["pypi"]} == wheels
    assert [name for (name, _), each in found["pypi"].items() if not each.get("licenses")] == []
    lock = (ROOT / "requirements/runtime.txt").read_text()
    hashes = {name: each["hashes"][0]["content"] for (name, _), each in found["pypi"].items() if name != "monlat-ebpf"}
    assert [name for name, digest in hashes.items() if f"--hash=sha256:{digest}" not in lock] == []
