"""Read the manifests as data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parent.parent
MANIFESTS: Final = ROOT / "manifests"
OVERLAYS: Final = tuple(sorted(path.name for path in (MANIFESTS / "overlays").iterdir()))
COMPONENTS: Final = tuple(sorted(path.name for path in (MANIFESTS / "components").iterdir()))

Object = dict[str, Any]


def objects_in(text: str) -> list[Object]:
    """Return the objects of a stream of YAML documents."""
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(objects: Sequence[Object], kind: str) -> Object:
    """Return the only object of a kind. Raise ValueError when there is none or more than one."""
    (found,) = [entry for entry in objects if entry["kind"] == kind]
    return found


def pod_of(objects: Sequence[Object]) -> Object:
    """Return the pod `spec` of the DaemonSet."""
    pod: Object = of_kind(objects, "DaemonSet")["spec"]["template"]["spec"]
    return pod


def container_of(pod: Object) -> Object:
    """Return the only container of a pod."""
    (container,) = pod["containers"]
    found: Object = container
    return found


def agent_of(objects: Sequence[Object]) -> Object:
    """Return the only container of the DaemonSet's pod."""
    return container_of(pod_of(objects))
