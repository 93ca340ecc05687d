"""The manifests through other people's tools: kubectl, Kubernetes' own schemas, Prometheus' checker."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from tests.cluster.fake_apply_server import FakeApplyServer
from tests.manifest_files import MANIFESTS, OVERLAYS, ROOT, Object, agent_of, objects_in, of_kind, pod_of

VERSIONS = kubernetes_validate.utils.all_versions()
FOLDERS = ("base", *(f"overlays/{name}" for name in OVERLAYS))
OPERATOR_KINDS = {"PodMonitor", "PrometheusRule"}  # definitions of the operator's; Kubernetes has no schema for them

Render = Callable[[str], list[Object]]


def output_of(*command: str | Path, **options: Any) -> str:
    process = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, **options)
    assert process.returncode == 0, process.stdout + process.stderr
    return str(process.stdout)


@pytest.fixture(scope="module")
def render(kubectl: str) -> Render:
    return lambda folder: objects_in(output_of(kubectl, "kustomize", MANIFESTS / folder))


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_oldest_and_newest_schemas_accept_every_overlay(folder: str, version: str, render: Render) -> None:
    """Strictly: a misspelt field is an error."""
    checked = [entry for entry in render(folder) if entry["kind"] not in OPERATOR_KINDS]
    assert len(checked) == 7
    for entry in checked:
        kubernetes_validate.validate(entry, version, strict=True)


def test_a_misspelt_field_would_be_found(render: Render) -> None:
    """The check above can fail."""
    daemonset = of_kind(render("base"), "DaemonSet")
    daemonset["spec"]["template"]["spec"]["hostNetwrok"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="hostNetwrok"):
        kubernetes_validate.validate(daemonset, VERSIONS[-1], strict=True)


def test_generated_files_are_current(kubectl: str, tmp_path: Path) -> None:
    """scripts/render-manifests, run on a copy, changes nothing: else run it, and commit."""
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "render-manifests", tmp_path / "scripts")
    output_of(script, env={"KUBECTL": kubectl, "PATH": "/usr/bin:/bin"})
    for name in ("monlat.yaml", "overlays/prometheus-operator/prometheusrule.yaml"):
        assert (tmp_path / "manifests" / name).read_text() == (MANIFESTS / name).read_text()
    assert sorted(file.name for file in tmp_path.rglob("*.new")) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_kubectl_applies_every_overlay_and_then_finds_nothing_to_change(
    folder: str, kubectl: str, render: Render, tmp_path: Path
) -> None:
    """The API server then holds what was rendered; a dry run stores nothing, a second apply sends nothing."""
    objects = render(folder)
    with FakeApplyServer() as server:
        apply = (kubectl, f"--server={server.url}", f"--cache-dir={tmp_path}", "apply", "--validate=false")
        output_of(*apply, "--dry-run=client", "-k", MANIFESTS / folder, env={"HOME": str(tmp_path)})
        assert server.stored == {}
        output_of(*apply, "-k", MANIFESTS / folder, env={"HOME": str(tmp_path)})
        stored = list(server.stored.values())
        again = output_of(*apply, "-k", MANIFESTS / folder, env={"HOME": str(tmp_path)})
    for entry in stored:
        entry["metadata"]["annotations"].pop("kubectl.kubernetes.io/last-applied-configuration")
        if not entry["metadata"]["annotations"]:
            entry["metadata"].pop("annotations")
    by_kind = {entry["kind"]: entry for entry in stored}
    assert by_kind == {entry["kind"]: entry for entry in objects}
    assert [line.split()[-1] for line in again.splitlines()] == ["unchanged"] * len(objects)
    assert server.patched == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_overlay_asks_for_more_rights_of_the_api(folder: str, render: Render) -> None:
    """Each has the base's one Role, in its own namespace, and mounts nothing of the host."""
    objects = render(folder)
    assert of_kind(objects, "Role")["rules"] == of_kind(render("base"), "Role")["rules"]
    assert not {"ClusterRole", "ClusterRoleBinding"} & {entry["kind"] for entry in objects}
    namespace = of_kind(objects, "Namespace")["metadata"]["name"]
    assert {entry["metadata"].get("namespace", namespace) for entry in objects} == {namespace}
    assert of_kind(objects, "RoleBinding")["subjects"][0]["namespace"] == namespace
    assert [sorted(volume) for volume in pod_of(objects)["volumes"]] == [["emptyDir", "name"]]


def test_privileged_is_root_without_a_seccomp_profile(render: Render) -> None:
    """And differs from the base in the agent's security settings alone."""
    objects, base = render("overlays/privileged"), render("base")
    assert agent_of(objects)["securityContext"]["privileged"] is True
    assert pod_of(objects)["securityContext"] == {
        "runAsNonRoot": False,
        "runAsUser": 0,
        "runAsGroup": 0,
        "seccompProfile": {"type": "Unconfined"},
    }
    for side in (objects, base):
        pod_of(side).pop("securityContext")
        agent_of(side).pop("securityContext")
    assert objects == base


def test_localhost_seccomp_names_the_profile_of_this_project(render: Render) -> None:
    """Its file is the one under manifests/seccomp; nothing else differs from the base."""
    objects, base = render("overlays/localhost-seccomp"), render("base")
    profile = pod_of(objects)["securityContext"].pop("seccompProfile")
    pod_of(base)["securityContext"].pop("seccompProfile")
    assert profile["type"] == "Localhost"
    assert (MANIFESTS / "seccomp" / profile["localhostProfile"]).is_file()
    assert objects == base


def test_pod_network_stands_beside_the_base(render: Render) -> None:
    """No object of one has the name of the other's, no selector of one matches the other's pods."""
    objects, base = render("overlays/pod-network"), render("base")

    def names(side: list[Object]) -> set[tuple[str, str, str]]:
        meta = [(entry["kind"], entry["metadata"]) for entry in side]
        return {(kind, data.get("namespace", ""), data["name"]) for kind, data in meta}

    assert not names(objects) & names(base)
    assert pod_of(objects)["hostNetwork"] is False
    assert pod_of(objects)["priorityClassName"] == of_kind(objects, "PriorityClass")["metadata"]["name"]
    labels = of_kind(base, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert not of_kind(objects, "Service")["spec"]["selector"].items() <= labels.items()


def test_the_operators_monitor_finds_the_agents_of_both_networks(render: Render) -> None:
    """By labels and port that the pods have; annotations that would scrape them twice are gone."""
    objects = render("overlays/prometheus-operator")
    monitor = of_kind(objects, "PodMonitor")["spec"]
    both = {"base": "monlat", "overlays/pod-network": "monlat-pod-network"}
    assert sorted(monitor["namespaceSelector"]["matchNames"]) == sorted(both.values())
    for folder in both:
        labels = of_kind(render(folder), "DaemonSet")["spec"]["template"]["metadata"]["labels"]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        assert labels[monitor["jobLabel"]] == "monlat"
    assert monitor["podMetricsEndpoints"][0]["port"] == agent_of(objects)["ports"][0]["name"]
    assert "annotations" not in of_kind(objects, "DaemonSet")["spec"]["template"]["metadata"]


def test_the_operators_rules_are_the_plain_ones(render: Render) -> None:
    """PrometheusRule carries the groups of manifests/prometheus/rules.yml."""
    rule = of_kind(render("overlays/prometheus-operator"), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((MANIFESTS / "prometheus" / "rules.yml").read_text())


def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    """Each alert is shown a series that raises it and one that does not: manifests/prometheus/rules-test.yml."""
    folder = MANIFESTS / "prometheus"
    assert "SUCCESS: 10 rules found" in output_of("promtool", "check", "rules", folder / "rules.yml")
    output_of("promtool", "test", "rules", folder / "rules-test.yml")


def test_every_alert_has_a_test() -> None:
    """No alert is named in the rules that its tests do not expect somewhere to fire."""
    groups = yaml.safe_load((MANIFESTS / "prometheus" / "rules.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    cases = yaml.safe_load((MANIFESTS / "prometheus" / "rules-test.yml").read_text())["tests"]
    fired = {entry["alertname"] for case in cases for entry in case["alert_rule_test"] if entry["exp_alerts"]}
    assert fired == alerts


def test_prometheus_accepts_the_scrape_configuration(tmp_path: Path) -> None:
    """All but the discovery itself, which Debian's Prometheus is built without: a fixed target takes its place."""
    config = yaml.safe_load((MANIFESTS / "prometheus" / "scrape.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [
        {"role": "pod", "namespaces": {"names": ["monlat", "monlat-pod-network"]}}
    ]
    job["static_configs"] = [{"targets": ["127.0.0.1:10045"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    output_of("promtool", "check", "config", tmp_path / "prometheus.yml")
