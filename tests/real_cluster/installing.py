"""Install and remove monlat as an operator does: with kubectl and a kustomization, or with Helm."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from os.path import relpath
from pathlib import Path
from typing import Final

from tests.manifest_files import MANIFESTS
from tests.real_cluster.agents import NAMESPACE, Agents, wait
from tests.real_cluster.api import Api

POD_NETWORK: Final = "monlat-pod-network"
NAMESPACES: Final = (NAMESPACE, POD_NETWORK)
RELEASE: Final = ("monlat", "--namespace", "kube-system")


class Installer:
    """Installs the image that the nodes have, or can pull, into a cluster."""

    def __init__(self, api: Api, helm: str, image: str, folder: Path) -> None:
        self.api = api
        self._helm = helm
        self._repository, _, self._tag = image.rpartition(":")
        self._folder = folder

    def kustomization(self, path: str, components: Sequence[str] = ()) -> str:
        """Make a kustomization of a folder of the manifests with this image and components, and return its folder."""
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [self._relative(path)],
            "components": [self._relative(f"components/{name}") for name in components],
            "images": [{"name": "monlat", "newName": self._repository, "newTag": self._tag}],
        }
        (self._folder / "kustomization.yaml").write_text(json.dumps(content))  # JSON is YAML
        return str(self._folder)

    def _relative(self, path: str) -> str:
        return relpath((MANIFESTS / path).resolve(), self._folder.resolve())

    def apply(self, path: str = "base", namespace: str = NAMESPACE, components: Sequence[str] = ()) -> Agents:
        """Apply a folder of the manifests, and wait for its agents."""
        self.api.run("apply", "--kustomize", self.kustomization(path, components))
        agents = Agents(self.api, namespace)
        wait_for_agents(agents)
        return agents

    def helm(self, *arguments: str) -> str:
        """Run helm and return its output. Raises AssertionError with its messages when it fails."""
        own = {f"HELM_{kind}_HOME": str(self._folder) for kind in ("CACHE", "CONFIG", "DATA")}
        environment = self.api.environment | own
        done = subprocess.run(
            [self._helm, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"helm {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def helm_install(self, *settings: str) -> Agents:
        """Install the chart as docs/installing.md says."""
        values = [
            f"image.repository={self._repository},image.tag={self._tag}",
            f"namespace.name={NAMESPACE},namespace.create=true",
            *settings,
        ]
        self.helm("install", *RELEASE, str(MANIFESTS / "chart"), "--set", ",".join(values), "--wait", "--timeout", "4m")
        return Agents(self.api)

    def remove(self) -> None:
        """Remove whatever a test has installed, and wait until it is gone."""
        if self.helm("list", *RELEASE[1:], "--short"):
            self.helm("uninstall", *RELEASE, "--wait")
        for path in ("base", "overlays/pod-network"):
            self.api.run("delete", "--kustomize", self.kustomization(path), "--ignore-not-found", "--wait=false")
        made = [f"/api/v1/namespaces/{name}" for name in NAMESPACES]
        wait(lambda: not any(map(self.api.exists, made)), "a namespace stays", 240)


def wait_for_agents(agents: Agents, nodes: Sequence[str] | None = None) -> None:
    """Wait until each node that the DaemonSet wants has a ready agent of its newest template."""

    def is_so() -> bool:
        daemon_set = agents.daemon_set()
        status, wanted = daemon_set["status"], daemon_set["status"]["desiredNumberScheduled"]
        observed = status["observedGeneration"] == daemon_set["metadata"]["generation"]
        counts = (status["numberReady"], status.get("updatedNumberScheduled", 0), len(agents.by_node()))
        return observed and wanted == (len(nodes) if nodes is not None else wanted) > 0 and counts == (wanted,) * 3

    wait(is_so, lambda: f"not every agent is ready: {agents.describe()}", 240)
