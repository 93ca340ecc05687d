"""Render the manifests with kustomize and with Helm."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from os.path import relpath
from pathlib import Path
from typing import Any

import yaml

from tests.manifest_files import MANIFESTS, Object, objects_in

CHART = MANIFESTS / "chart"


def output_of(*command: str | Path, **options: Any) -> str:
    process = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, **options)
    assert process.returncode == 0, process.stdout + process.stderr
    return str(process.stdout)


class Kustomize:
    """Kustomizations of the base and some components, each made in a folder of its own."""

    def __init__(self, kubectl: str, folder: Path) -> None:
        self._kubectl = kubectl
        self._folder = folder
        self._rendered: dict[tuple[tuple[str, ...], str | None], str] = {}

    def objects(self, components: Iterable[str] = (), namespace: str | None = None) -> list[Object]:
        """Render the base with the components in this order, then with the namespace."""
        wanted = (tuple(components), namespace)
        if wanted not in self._rendered:
            self._rendered[wanted] = self._render(*wanted)
        return objects_in(self._rendered[wanted])

    def _render(self, components: Iterable[str], namespace: str | None) -> str:
        content: Object = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [self._path("base")],
            "components": [self._path(f"components/{name}") for name in components],
        }
        if namespace is not None:
            content["namespace"] = namespace
        (self._folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return output_of(self._kubectl, "kustomize", self._folder)

    def _path(self, name: str) -> str:
        """Kustomize takes relative paths only."""
        return relpath((MANIFESTS / name).resolve(), self._folder.resolve())


class Helm:
    """The chart, rendered without a cluster."""

    def __init__(self, helm: str, folder: Path) -> None:
        self._helm = helm
        self._folder = folder

    def run(self, command: str, values: Object, *options: str) -> subprocess.CompletedProcess[str]:
        """Run `helm template`, `helm install` or `helm lint` with values."""
        file = self._folder / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        name = [] if command == "lint" else ["monlat"]
        line = [self._helm, command, *name, str(CHART), "--values", str(file), *options]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, env={"HOME": str(self._folder)})

    def objects(self, values: Object, *options: str) -> list[Object]:
        """Render what `helm install` makes: the chart's objects without its test."""
        done = self.run("template", values, "--skip-tests", *options)
        assert done.returncode == 0, done.stderr
        return objects_in(done.stdout)
