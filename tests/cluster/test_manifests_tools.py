"""The manifests, checked with kubectl, Kubernetes' schemas and promtool."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from tests.cluster.fake_apply_server import FakeApplyServer
from tests.cluster.rendering import output_of
from tests.manifest_files import (
    MANIFESTS,
    OPERATOR_KINDS,
    OVERLAYS,
    ROOT,
    RULES,
    Object,
    agent_of,
    objects_in,
    of_kind,
    pod_of,
    rule_groups,
)

VERSIONS = kubernetes_validate.utils.all_versions()
FOLDERS = ("base", *(f"overlays/{name}" for name in OVERLAYS))

RULE_TESTS = tuple(file.with_name(f"{file.stem}-test.yml") for file in RULES)

Render = Callable[[str], list[Object]]


@pytest.fixture(scope="module")
def render(kubectl: str) -> Render:
    return lambda folder: objects_in(output_of(kubectl, "kustomize", MANIFESTS / folder))


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
@pytest.mark.parametrize("folder", FOLDERS)
def test_oldest_and_newest_schema_accept_every_overlay(folder: str, version: str, render: Render) -> None:
    """Strict validation: a misspelt field is an error."""
    checked = [entry for entry in render(folder) if entry["kind"] not in OPERATOR_KINDS]
    assert len(checked) == 7
    for entry in checked:
        kubernetes_validate.validate(entry, version, strict=True)


def test_validation_finds_a_misspelt_field(render: Render) -> None:
    """The check above can fail."""
    daemonset = of_kind(render("base"), "DaemonSet")
    daemonset["spec"]["template"]["spec"]["hostNetwrok"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="hostNetwrok"):
        kubernetes_validate.validate(daemonset, VERSIONS[-1], strict=True)


def test_generated_files_are_current(kubectl: str, tmp_path: Path) -> None:
    """scripts/render-manifests changes nothing in a copy. If this fails, run the script and commit."""
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "render-manifests", tmp_path / "scripts")
    output_of(script, env={"KUBECTL": kubectl, "PATH": "/usr/bin:/bin"})
    names = ["monlat.yaml", "components/prometheus-operator/prometheusrule.yaml", "components/grafana/dashboards.yaml"]
    names += [str(path.relative_to(MANIFESTS)) for path in (MANIFESTS / "chart/files").rglob("*") if path.is_file()]
    assert len(names) == 3 + 3 + len(list((MANIFESTS / "grafana").iterdir()))
    for name in names:
        assert (tmp_path / "manifests" / name).read_text() == (MANIFESTS / name).read_text()
    assert sorted(file.name for file in tmp_path.rglob("*.new")) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_second_apply_of_an_overlay_changes_nothing(folder: str, kubectl: str, render: Render, tmp_path: Path) -> None:
    """The API server then stores the rendered objects. A dry run stores nothing, a second apply sends nothing."""
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
def test_no_overlay_needs_more_api_permissions(folder: str, render: Render) -> None:
    """Each has the base's one Role, in its own namespace, and mounts nothing of the host."""
    objects = render(folder)
    assert of_kind(objects, "Role")["rules"] == of_kind(render("base"), "Role")["rules"]
    assert not {"ClusterRole", "ClusterRoleBinding"} & {entry["kind"] for entry in objects}
    namespace = of_kind(objects, "Namespace")["metadata"]["name"]
    assert {entry["metadata"].get("namespace", namespace) for entry in objects} == {namespace}
    assert of_kind(objects, "RoleBinding")["subjects"][0]["namespace"] == namespace
    assert [sorted(volume) for volume in pod_of(objects)["volumes"]] == [["emptyDir", "name"]]


def test_overlay_privileged_is_root_without_a_seccomp_profile(render: Render) -> None:
    """Only the agent's security settings differ from the base."""
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


def test_overlay_localhost_seccomp_names_our_profile(render: Render) -> None:
    """The file is in manifests/seccomp. Nothing else differs from the base."""
    objects, base = render("overlays/localhost-seccomp"), render("base")
    profile = pod_of(objects)["securityContext"].pop("seccompProfile")
    pod_of(base)["securityContext"].pop("seccompProfile")
    assert profile["type"] == "Localhost"
    assert (MANIFESTS / "seccomp" / profile["localhostProfile"]).is_file()
    assert objects == base


def test_overlay_pod_network_can_be_deployed_beside_the_base(render: Render) -> None:
    """No object has the same name, and no selector matches the other's pods."""
    objects, base = render("overlays/pod-network"), render("base")

    def names(side: list[Object]) -> set[tuple[str, str, str]]:
        meta = [(entry["kind"], entry["metadata"]) for entry in side]
        return {(kind, data.get("namespace", ""), data["name"]) for kind, data in meta}

    assert not names(objects) & names(base)
    assert pod_of(objects)["hostNetwork"] is False
    assert pod_of(objects)["priorityClassName"] == of_kind(objects, "PriorityClass")["metadata"]["name"]
    labels = of_kind(base, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert not of_kind(objects, "Service")["spec"]["selector"].items() <= labels.items()


def test_pod_monitor_finds_the_agents_of_its_namespace(render: Render) -> None:
    """It uses labels and a port that the pods have. Annotations that would cause a second scrape are removed."""
    objects = render("overlays/prometheus-operator")
    monitor = of_kind(objects, "PodMonitor")["spec"]
    for folder in ("base", "overlays/pod-network"):
        labels = of_kind(render(folder), "DaemonSet")["spec"]["template"]["metadata"]["labels"]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        assert labels[monitor["jobLabel"]] == "monlat"
    assert monitor["podMetricsEndpoints"][0]["port"] == agent_of(objects)["ports"][0]["name"]
    assert "annotations" not in of_kind(objects, "DaemonSet")["spec"]["template"]["metadata"]


def test_rules_of_the_operator_equal_the_plain_rules(render: Render) -> None:
    """PrometheusRule contains the groups of the files in manifests/prometheus."""
    rule = of_kind(render("overlays/prometheus-operator"), "PrometheusRule")
    assert rule["spec"] == {"groups": rule_groups()}


def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    """Their series raise each alert; test_alert_situations.py has those that must not."""
    assert sorted((MANIFESTS / "prometheus").glob("rules*.yml")) == sorted((*RULES, *RULE_TESTS))
    for file, rules in zip(RULES, (20, 16, 5), strict=True):
        assert f"SUCCESS: {rules} rules found" in output_of("promtool", "check", "rules", file)
    for file in RULE_TESTS:
        output_of("promtool", "test", "rules", file)


def test_every_alert_has_a_test() -> None:
    """For each alert, some test expects it to fire."""
    alerts = {rule["alert"] for group in rule_groups() for rule in group["rules"] if "alert" in rule}
    cases = [case for file in RULE_TESTS for case in yaml.safe_load(file.read_text())["tests"]]
    fired = {entry["alertname"] for case in cases for entry in case.get("alert_rule_test", ()) if entry["exp_alerts"]}
    assert fired == alerts


def test_prometheus_accepts_the_scrape_configuration(tmp_path: Path) -> None:
    """Debian's Prometheus is built without Kubernetes discovery, so a fixed target replaces it."""
    config = yaml.safe_load((MANIFESTS / "prometheus" / "scrape.yml").read_text())
    assert [job["job_name"] for job in config["scrape_configs"]] == ["monlat", "monlat-collector"]
    for job in config["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [
            {"role": "pod", "namespaces": {"names": ["monlat", "monlat-pod-network"]}}
        ]
        job["static_configs"] = [{"targets": ["127.0.0.1:10045"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    output_of("promtool", "check", "config", tmp_path / "prometheus.yml")
