"""What manifests/monlat.yaml asks of a cluster: no more than it needs, and what the agent expects."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from monlat_ebpf.config import AgentConfig, KubernetesConfig
from tests.manifest_files import MANIFESTS, ROOT, Object, agent_of, objects_in, of_kind, pod_of

BPF_COMMANDS = {"BPF_MAP_CREATE": 0, "BPF_PROG_LOAD": 5, "BPF_RAW_TRACEPOINT_OPEN": 17, "BPF_BTF_LOAD": 18}
SOCKET_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
NEW_NAMESPACES = 0x02000000 | 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""CLONE_NEWCGROUP, NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (linux/sched.h)."""
DANGEROUS = {
    "add_key", "clone3", "delete_module", "finit_module", "init_module", "io_uring_setup", "kexec_load", "keyctl",
    "mount", "open_by_handle_at", "perf_event_open", "pivot_root", "process_vm_readv", "process_vm_writev", "ptrace",
    "reboot", "seccomp", "setns", "swapon", "umount2", "unshare", "userfaultfd",
}  # fmt: skip


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return objects_in((MANIFESTS / "monlat.yaml").read_text())


@pytest.fixture(scope="module")
def profile() -> Any:
    return json.loads((MANIFESTS / "seccomp" / "monlat.json").read_text())


def test_the_only_permission_is_to_follow_endpointslices_of_the_own_namespace(objects: list[Object]) -> None:
    """One Role with list and watch on endpointslices, bound to the agent's account; nothing for the whole cluster."""
    granting = [entry["kind"] for entry in objects if entry["apiVersion"].startswith("rbac.authorization.k8s.io/")]
    assert sorted(granting) == ["Role", "RoleBinding"]
    role, binding, account = (of_kind(objects, kind) for kind in ("Role", "RoleBinding", "ServiceAccount"))
    assert role["rules"] == [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": account["metadata"]["namespace"]}
    ]
    assert pod_of(objects)["serviceAccountName"] == account["metadata"]["name"]


def test_the_token_is_mounted_into_the_agent_alone(objects: list[Object]) -> None:
    """The account gives its token to no pod unasked; the DaemonSet asks."""
    assert of_kind(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod_of(objects)["automountServiceAccountToken"] is True


def test_nothing_of_the_host_is_shared_but_its_network(objects: list[Object]) -> None:
    """No mount of the host's files, no process or IPC namespace of the host's."""
    pod = pod_of(objects)
    assert pod["hostNetwork"] is True
    assert not pod.keys() & {"hostPID", "hostIPC", "hostUsers", "shareProcessNamespace", "initContainers"}
    assert [sorted(volume) for volume in pod["volumes"]] == [["emptyDir", "name"]]


def test_three_capabilities_are_added_to_none(objects: list[Object]) -> None:
    """BPF, PERFMON and NET_RAW; tests/cluster/test_image.py shows that none can be spared."""
    security = agent_of(objects)["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["BPF", "PERFMON", "NET_RAW"]}
    assert "privileged" not in security


def test_the_starter_passes_on_what_the_manifest_adds(objects: list[Object]) -> None:
    """The capabilities that the image's starter makes ambient are those of the manifest."""
    listed = re.search(r"wanted\[\] = \{(.*?)\}", (ROOT / "image/starter.c").read_text(), re.DOTALL)
    assert listed is not None
    added = agent_of(objects)["securityContext"]["capabilities"]["add"]
    assert {name.strip() for name in listed[1].split(",")} == {f"CAP_{name}" for name in added}


def test_the_agent_is_not_root_and_writes_nothing_to_its_image(objects: list[Object]) -> None:
    """Another user than root, a read-only root file system, a seccomp profile."""
    pod_wide, own = pod_of(objects)["securityContext"], agent_of(objects)["securityContext"]
    assert pod_wide["runAsNonRoot"] is True
    assert (pod_wide["runAsUser"], pod_wide["runAsGroup"]) == (65532, 65532)
    assert "USER 65532:65532" in (ROOT / "Dockerfile").read_text()
    assert pod_wide["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["readOnlyRootFilesystem"] is True


def test_memory_is_limited_and_the_cpu_is_not(objects: list[Object]) -> None:
    """Both are requested; a CPU limit would make probes late."""
    resources = agent_of(objects)["resources"]
    assert sorted(resources["requests"]) == ["cpu", "memory"]
    assert sorted(resources["limits"]) == ["memory"]


def test_every_linux_node_gets_an_agent(objects: list[Object]) -> None:
    """Whatever its taints."""
    pod = pod_of(objects)
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert pod["priorityClassName"] == of_kind(objects, "PriorityClass")["metadata"]["name"]


def test_the_service_lists_every_agent_in_both_families_ready_or_not(objects: list[Object]) -> None:
    """Its EndpointSlices are the peers that discovery reads, under the name that discovery looks for."""
    service = of_kind(objects, "Service")
    assert service["metadata"]["name"] == KubernetesConfig().service
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["ipFamilyPolicy"] == "PreferDualStack"
    template = of_kind(objects, "DaemonSet")["spec"]["template"]["metadata"]
    assert service["spec"]["selector"].items() <= template["labels"].items()


def test_the_port_is_the_one_that_the_agent_listens_on(objects: list[Object]) -> None:
    """The manifest sets no --listen, so container, Service and annotation name the default."""
    port = AgentConfig.__dataclass_fields__["listen_port"].default
    assert agent_of(objects)["ports"] == [{"name": "metrics", "containerPort": port}]
    assert [entry["port"] for entry in of_kind(objects, "Service")["spec"]["ports"]] == [port]
    annotations = of_kind(objects, "DaemonSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port)


def test_the_agent_learns_its_node_by_the_downward_api(objects: list[Object]) -> None:
    """And no Service of the cluster can set one of its MONLAT_ variables."""
    assert agent_of(objects)["args"] == ["agent", "--discovery", "kubernetes"]
    assert agent_of(objects)["env"] == [
        {"name": "MONLAT_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    ]
    assert pod_of(objects)["enableServiceLinks"] is False


def test_probes_ask_the_agents_own_pages(objects: list[Object]) -> None:
    """Life and start are /healthz, readiness is /readyz."""
    agent = agent_of(objects)
    asked = {name: agent[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def test_the_version_is_one_everywhere(objects: list[Object]) -> None:
    """pyproject.toml, the manifest's image and the image's own label agree."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert agent_of(objects)["image"] == f"monlat:{version}"
    assert f"ARG VERSION={version}\n" in (ROOT / "Dockerfile").read_text()


def test_the_seccomp_profile_refuses_all_that_it_does_not_name(profile: Any) -> None:
    """As a system call that the kernel does not have, so that libraries fall back to an older one."""
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["defaultErrnoRet"] == 38  # ENOSYS
    assert {rule["action"] for rule in profile["syscalls"]} == {"SCMP_ACT_ALLOW"}
    assert not DANGEROUS & {name for rule in profile["syscalls"] for name in rule["names"]}


@pytest.mark.parametrize(("name", "allowed"), [("bpf", BPF_COMMANDS), ("socket", SOCKET_FAMILIES)])
def test_the_seccomp_profile_allows_only_some_kinds_of(name: str, allowed: dict[str, int], profile: Any) -> None:
    """bpf() creates and loads, and looks into nothing that others made; sockets are of four families."""
    conditions = [rule["args"] for rule in profile["syscalls"] if name in rule["names"]]
    assert [len(condition) for condition in conditions] == [1] * len(allowed)
    assert {(one["index"], one["op"], one["value"]) for (one,) in conditions} == {
        (0, "SCMP_CMP_EQ", value) for value in allowed.values()
    }


def test_the_seccomp_profile_allows_no_new_namespace(profile: Any) -> None:
    """clone, with none of the flags that make one."""
    ((condition,),) = [rule["args"] for rule in profile["syscalls"] if "clone" in rule["names"]]
    assert condition == {"index": 0, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
