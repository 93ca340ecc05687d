"""manifests/monlat.yaml asks a cluster for what the agent needs, and for no more."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from monlat_ebpf.config import DEFAULT_PORT, KubernetesConfig
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


def test_only_permission_is_to_follow_endpointslices_in_own_namespace(objects: list[Object]) -> None:
    """One Role with list and watch on endpointslices, bound to the agent's account; no ClusterRole."""
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


def test_token_is_mounted_into_the_agent_only(objects: list[Object]) -> None:
    """The account mounts its token into no pod by default; the DaemonSet requests it."""
    assert of_kind(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod_of(objects)["automountServiceAccountToken"] is True


def test_agent_shares_only_the_network_of_the_host(objects: list[Object]) -> None:
    """It mounts no file of the host and uses neither its process nor its IPC namespace."""
    pod = pod_of(objects)
    assert pod["hostNetwork"] is True
    assert not pod.keys() & {"hostPID", "hostIPC", "hostUsers", "shareProcessNamespace", "initContainers"}
    assert [sorted(volume) for volume in pod["volumes"]] == [["emptyDir", "name"]]


def test_agent_has_three_capabilities(objects: list[Object]) -> None:
    """BPF, PERFMON and NET_RAW; tests/cluster/test_image.py shows that each is needed."""
    security = agent_of(objects)["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["BPF", "PERFMON", "NET_RAW"]}
    assert "privileged" not in security


def test_starter_passes_on_the_capabilities_of_the_manifest(objects: list[Object]) -> None:
    """The image's starter makes exactly these capabilities ambient."""
    listed = re.search(r"wanted\[\] = \{(.*?)\}", (ROOT / "image/starter.c").read_text(), re.DOTALL)
    assert listed is not None
    added = agent_of(objects)["securityContext"]["capabilities"]["add"]
    assert {name.strip() for name in listed[1].split(",")} == {f"CAP_{name}" for name in added}


def test_agent_is_not_root_and_cannot_write_to_its_image(objects: list[Object]) -> None:
    """It has its own user, a read-only root file system and a seccomp profile."""
    pod_wide, own = pod_of(objects)["securityContext"], agent_of(objects)["securityContext"]
    assert pod_wide["runAsNonRoot"] is True
    assert (pod_wide["runAsUser"], pod_wide["runAsGroup"]) == (65532, 65532)
    assert "USER 65532:65532" in (ROOT / "Dockerfile").read_text()
    assert pod_wide["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["readOnlyRootFilesystem"] is True


def test_memory_is_limited_and_cpu_is_not(objects: list[Object]) -> None:
    """Both are requested. A CPU limit would make probes late."""
    resources = agent_of(objects)["resources"]
    assert sorted(resources["requests"]) == ["cpu", "memory"]
    assert sorted(resources["limits"]) == ["memory"]


def test_every_linux_node_gets_an_agent(objects: list[Object]) -> None:
    """Taints do not keep it away."""
    pod = pod_of(objects)
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert pod["priorityClassName"] == of_kind(objects, "PriorityClass")["metadata"]["name"]


def test_service_lists_agents_in_both_families_even_if_not_ready(objects: list[Object]) -> None:
    """Discovery reads its EndpointSlices, and looks for it under this name."""
    service = of_kind(objects, "Service")
    assert service["metadata"]["name"] == KubernetesConfig().service
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["ipFamilyPolicy"] == "PreferDualStack"
    template = of_kind(objects, "DaemonSet")["spec"]["template"]["metadata"]
    assert service["spec"]["selector"].items() <= template["labels"].items()


def test_port_is_the_default_port_of_the_agent(objects: list[Object]) -> None:
    """The manifest sets no --listen, so container, Service and annotation name the default."""
    port = DEFAULT_PORT
    assert agent_of(objects)["ports"] == [{"name": "metrics", "containerPort": port}]
    assert [entry["port"] for entry in of_kind(objects, "Service")["spec"]["ports"]] == [port]
    annotations = of_kind(objects, "DaemonSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port)


def test_agent_gets_its_node_name_from_the_downward_api(objects: list[Object]) -> None:
    """No Service of the cluster can set one of its MONLAT_ variables."""
    assert agent_of(objects)["args"] == ["agent", "--discovery", "kubernetes"]
    assert agent_of(objects)["env"] == [
        {"name": "MONLAT_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    ]
    assert pod_of(objects)["enableServiceLinks"] is False


def test_kubelet_probes_use_healthz_and_readyz(objects: list[Object]) -> None:
    """Startup and liveness ask /healthz, readiness asks /readyz."""
    agent = agent_of(objects)
    asked = {name: agent[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def test_version_is_the_same_everywhere(objects: list[Object]) -> None:
    """pyproject.toml, the manifest's image and the Dockerfile agree."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert agent_of(objects)["image"] == f"monlat:{version}"
    assert f"ARG VERSION={version}\n" in (ROOT / "Dockerfile").read_text()


def test_seccomp_profile_refuses_every_call_it_does_not_name(profile: Any) -> None:
    """With ENOSYS, as a kernel that lacks the call, so that libraries fall back to an older one."""
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["defaultErrnoRet"] == 38  # ENOSYS
    assert {rule["action"] for rule in profile["syscalls"]} == {"SCMP_ACT_ALLOW"}
    assert not DANGEROUS & {name for rule in profile["syscalls"] for name in rule["names"]}


@pytest.mark.parametrize(("name", "allowed"), [("bpf", BPF_COMMANDS), ("socket", SOCKET_FAMILIES)])
def test_seccomp_profile_limits_the_first_argument(name: str, allowed: dict[str, int], profile: Any) -> None:
    """bpf() may create and load, but not open what others made; socket() may use four families."""
    conditions = [rule["args"] for rule in profile["syscalls"] if name in rule["names"]]
    assert [len(condition) for condition in conditions] == [1] * len(allowed)
    assert {(one["index"], one["op"], one["value"]) for (one,) in conditions} == {
        (0, "SCMP_CMP_EQ", value) for value in allowed.values()
    }


def test_seccomp_profile_allows_no_new_namespace(profile: Any) -> None:
    """clone() must have none of the flags that create one."""
    ((condition,),) = [rule["args"] for rule in profile["syscalls"] if "clone" in rule["names"]]
    assert condition == {"index": 0, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
