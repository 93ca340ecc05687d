"""Run containers as a node does: translate a pod template as the kubelet and containerd do, and give it to runc.

This imitates containerd 1.7 in what matters to the agent: user, capabilities, no_new_privs, the read-only root, seccomp
profiles of type Localhost, emptyDir volumes, the service account's mount, environment and the memory limit. The
capabilities are the bounding, permitted and effective sets. The ambient set is empty: podman would fill it for a user
other than root, Kubernetes does not. The node is a network namespace. A template with an unknown part is an error, so
that every part of the manifests is tested.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.cluster.image import Image, podman

TERMINATION = 10  # seconds that a container has to end

MASKED = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/scsi",
          "/sys/firmware")  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class NodeSide:
    """What a container gets from its node and from the API server, in addition to the pod's template.

    `network` is the path of the node's network namespace; `service_account` a folder with token, ca.crt and
    namespace; `seccomp` the folder that a Localhost profile's name is relative to.
    """

    name: str
    network: str
    seccomp: Path
    service_account: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def oci_spec(pod: Mapping[str, Any], image: Mapping[str, Any], node: NodeSide, root: str) -> dict[str, Any]:
    """Return the runtime specification for the one container of `pod`, the `spec` of a pod template.

    `image` is the image's configuration, as `podman image inspect` shows it.
    """
    (container,) = pod["containers"]
    security = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    user = {"uid": security["runAsUser"], "gid": security["runAsGroup"]}
    assert not security.get("runAsNonRoot") or user["uid"] != 0, "the kubelet refuses such a pod"
    capabilities = _capabilities(security)
    return {
        "ociVersion": "1.0.2",
        "hostname": node.name,
        "root": {"path": root, "readonly": bool(security.get("readOnlyRootFilesystem"))},
        "process": {
            "user": user,
            "args": [*image["Entrypoint"], *container["args"]],
            "cwd": "/",
            "env": [*image["Env"], *(f"{name}={value}" for name, value in _environment(container, node).items())],
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": not security.get("allowPrivilegeEscalation", True),
        },
        "mounts": [*_SYSTEM_MOUNTS, *_volumes(pod, container), *_service_account(pod, node)],
        "linux": {
            "namespaces": [
                *({"type": kind} for kind in ("pid", "ipc", "uts", "mount")),
                {"type": "network", "path": node.network},
            ],
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "cgroupsPath": f"/monlat-test-{uuid.uuid4().hex}",
            "resources": {"memory": {"limit": _bytes(container["resources"]["limits"]["memory"])}},
            "seccomp": _seccomp(security["seccompProfile"], node.seccomp),
        },
    }


_SYSTEM_MOUNTS: list[dict[str, Any]] = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "noexec"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
]


def _capabilities(security: Mapping[str, Any]) -> list[str]:
    assert security["capabilities"]["drop"] == ["ALL"], "other starting points are not imitated"
    return [f"CAP_{name}" for name in security["capabilities"].get("add", [])]


def _environment(container: Mapping[str, Any], node: NodeSide) -> dict[str, str]:
    values = dict(node.environment)
    for variable in container.get("env", []):
        if "value" in variable:
            values[variable["name"]] = variable["value"]
        else:
            assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
            values[variable["name"]] = node.name
    return values


def _volumes(pod: Mapping[str, Any], container: Mapping[str, Any]) -> list[dict[str, Any]]:
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    mounts = []
    for mount in container.get("volumeMounts", []):
        empty = volumes[mount["name"]]["emptyDir"]
        assert empty["medium"] == "Memory", "an emptyDir on disk is not imitated"
        options = ["mode=1777", f"size={_bytes(empty['sizeLimit'])}"]
        mounts.append({"destination": mount["mountPath"], "type": "tmpfs", "source": "tmpfs", "options": options})
    return mounts


def _service_account(pod: Mapping[str, Any], node: NodeSide) -> list[dict[str, Any]]:
    if node.service_account is None:
        return []
    assert pod["automountServiceAccountToken"]
    options = ["bind", "ro"]
    return [{"destination": SERVICE_ACCOUNT, "type": "bind", "source": str(node.service_account), "options": options}]


def _seccomp(profile: Mapping[str, str], folder: Path) -> dict[str, Any]:
    assert profile["type"] == "Localhost", "a runtime's default profile is that runtime's; none is here to ask"
    loaded: dict[str, Any] = json.loads((folder / profile["localhostProfile"]).read_text())
    return loaded


def _bytes(quantity: str) -> int:
    return int(quantity.removesuffix("Mi")) << 20


class Container:
    """Run a container until the block ends."""

    def __init__(self, image: Image, pod: Mapping[str, Any], node: NodeSide, folder: Path) -> None:
        self.node = node
        self._id = f"monlat-test-{uuid.uuid4().hex[:12]}"
        self._bundle = folder / self._id
        self._image = image
        self._pod = pod

    def __enter__(self) -> Self:
        self._bundle.mkdir()
        podman("create", "--name", self._id, self._image.name)  # its own writable layer, as each container has
        try:
            root = podman("mount", self._id)
            spec = oci_spec(self._pod, self._image.configuration, self.node, root)
            self.cgroup = spec["linux"]["cgroupsPath"]
            (self._bundle / "config.json").write_text(json.dumps(spec))
            self._log = (self._bundle / "log").open("wb")
            self._process = subprocess.Popen(
                ["runc", "run", "--bundle", str(self._bundle), "--pid-file", str(self._bundle / "pid"), self._id],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
            )
        except BaseException:
            self._remove()
            raise
        return self

    @property
    def pid(self) -> int:
        """The ID of the container's first process. Raises FileNotFoundError before it starts."""
        return int((self._bundle / "pid").read_text())

    @property
    def log(self) -> str:
        """The output of the container and of runc so far."""
        return (self._bundle / "log").read_text()

    def status(self) -> dict[str, str]:
        """Return /proc/PID/status of the first process."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as `kubectl exec` would."""
        return subprocess.run(["runc", "exec", self._id, *command], capture_output=True, text=True, timeout=60)

    def wait(self, seconds: float) -> int:
        """Return the exit status. Raises subprocess.TimeoutExpired."""
        return self._process.wait(seconds)

    def stop(self) -> int:
        """End the container as the kubelet does: SIGTERM, then SIGKILL. Return its exit status."""
        if self._process.poll() is None:
            subprocess.run(["runc", "kill", self._id, "TERM"], capture_output=True)
            try:
                return self._process.wait(TERMINATION)
            except subprocess.TimeoutExpired:
                subprocess.run(["runc", "kill", self._id, "KILL"], capture_output=True)
        return self._process.wait(TERMINATION)

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._log.close()
            self._remove()

    def _remove(self) -> None:
        subprocess.run(["runc", "delete", "--force", self._id], capture_output=True)
        podman("rm", "--force", self._id)
        shutil.rmtree(self._bundle)
