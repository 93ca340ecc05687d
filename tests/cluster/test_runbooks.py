"""docs/runbooks/ has a page for each alert, and what a page tells to run exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from monlat_ebpf.cli.main import COMMANDS
from tests.manifest_files import MANIFESTS, ROOT, objects_in, of_kind, rule_groups

RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["What it means", "What to look at first", "How to fix it", "When it is false"]
RULES = rule_groups()
ALERTS = {rule["alert"]: rule["annotations"] for group in RULES for rule in group["rules"] if "alert" in rule}
PAGES = sorted(path.stem for path in RUNBOOKS.glob("Monlat*.md"))

every_page = pytest.mark.parametrize("name", PAGES)


def page(name: str) -> str:
    return (RUNBOOKS / f"{name}.md").read_text()


def test_every_alert_has_a_page_and_links_to_it() -> None:
    """The link is a path in this repository. No page is left without an alert, and the list of pages is complete."""
    assert sorted(ALERTS) == PAGES
    assert {name: alert["runbook_url"] for name, alert in ALERTS.items()} == {
        name: f"docs/runbooks/{name}.md" for name in PAGES
    }
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \|", page("README"), re.MULTILINE)) == PAGES


@every_page
def test_page_has_its_four_sections(name: str) -> None:
    """Meaning, first look, remedy, and when the alert is false; each has a text, and the second a query or command."""
    title, *sections = re.split(r"^## ", page(name), flags=re.MULTILINE)
    assert title.strip() == f"# {name}"
    heads, texts = zip(*(section.split("\n", 1) for section in sections), strict=True)
    assert list(heads) == SECTIONS
    assert all(text.strip() for text in texts)
    assert "`" in texts[1]


@every_page
def test_commands_of_a_page_exist(name: str) -> None:
    """Every `monlat COMMAND` is a command of the program."""
    assert set(re.findall(r"`monlat (\w+)", page(name))) <= set(COMMANDS)


@every_page
def test_queries_of_a_page_can_be_evaluated(name: str, tmp_path: Path) -> None:
    """promtool accepts each as an expression, and each name in it is exported, recorded, or Prometheus' own."""
    text = re.sub(r"\s+", " ", page(name))
    queries = [span for span in re.findall(r"`([^`]+)`", text) if re.match(r"(monlat[_:]|[a-z_]+( by [^`]*)?\()", span)]
    rules = [{"record": "checked", "expr": query} for query in queries]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "a", "rules": rules}]}))
    command = ["promtool", "check", "rules", "--lint=none", str(tmp_path / "rules.yml")]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stdout + process.stderr
    recorded = {rule.get("record") for group in RULES for rule in group["rules"]}
    source = "".join(path.read_text() for path in (ROOT / "monlat_ebpf").rglob("*.py"))
    for metric in re.findall(r"\bmonlat[_:][a-z0-9_:]+", " ".join(queries)):
        assert metric in recorded or f'"{metric.removesuffix("_bucket")}"' in source, metric


def test_an_overlay_sets_where_the_pages_are(kubectl: str, tmp_path: Path) -> None:
    """The kustomization of the README, on top of the shipped overlay, changes every link and nothing else."""
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    own = tmp_path / "manifests" / "overlays" / "own"
    own.mkdir()
    (example,) = re.findall(r"```yaml\n(.*?)```", page("README"), re.DOTALL)
    (own / "kustomization.yaml").write_text(example)

    def rule(folder: Path) -> Any:
        command = [kubectl, "kustomize", str(folder)]
        process = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert process.returncode == 0, process.stderr
        return of_kind(objects_in(process.stdout), "PrometheusRule")["spec"]

    changed = json.dumps(rule(own))
    assert changed.count("https://git.example.org/monlat/blob/main/docs/runbooks/") == len(ALERTS)
    assert json.loads(changed.replace("https://git.example.org/monlat/blob/main/", "")) == rule(
        own.parent / "prometheus-operator"
    )
