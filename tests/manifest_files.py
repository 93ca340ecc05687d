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
RULES: Final = tuple(MANIFESTS / "prometheus" / f"{name}.yml" for name in ("rules", "rules-diagnosis", "rules-zones"))
"""The files of rules, in the order in which the operator's object has their groups."""
OPERATOR_KINDS: Final = frozenset({"PodMonitor", "PrometheusRule", "ServiceMonitor"})
"""Custom resources of the Prometheus operator, for which Kubernetes has no schema."""

Object = dict[str, Any]


def objects_in(text: str) -> list[Object]:
    """Return the objects of a stream of YAML documents."""
    return [document for document in yaml.safe_load_all(text) if document]


def rule_groups() -> list[Object]:
    """Return the groups of all files of rules."""
    return [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]


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
