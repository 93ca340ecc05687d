"""The queries of all dashboards, rules and recipes, read from their files, for a demo of minutes and not of days."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tests.manifest_files import MANIFESTS, ROOT, RULES

DASHBOARDS: Final = MANIFESTS / "grafana"
RECIPES: Final = ROOT / "docs" / "promql.md"
RATE: Final = "15s"
DURATIONS: Final = {"15s": RATE, "30s": RATE, "5m": RATE, "15m": RATE, "30d": RATE, "1d": "20s"}
"""What is shortened: how far back rates look, and when "yesterday" was."""

VARIABLES: Final = {
    "cluster": "demo",
    "job": "monlat",
    "zone": ".*",
    "family": ".*",
    "from": "node1",
    "to": "node3",
    "__rate_interval": RATE,
}
"""Of the dashboards; `rtt`, the kind of histograms, is each server's own."""


class Query(NamedTuple):
    """A query with its name: file and panel, or the rule."""

    name: str
    expression: str


class LabelValues(NamedTuple):
    """The query of a dashboard's variable."""

    name: str
    label: str
    selector: str


def panels() -> Iterator[Query]:
    """Yield every target of every panel, with its variables filled in, except `$rtt`."""
    for file in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                name = f"{file.stem}: {panel['title']}, {target['refId']}"
                yield Query(name, filled_in(target["expr"]))


def variables() -> Iterator[LabelValues]:
    """Yield the query of every variable."""
    for file in sorted(DASHBOARDS.glob("*.json")):
        for variable in json.loads(file.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
                assert match, variable
                yield LabelValues(f"{file.stem}: ${variable['name']}", match[2], filled_in(match[1]))


def rules() -> Iterator[Query]:
    """Yield the expression of every rule, named by its alert, or by its record and the labels that it adds."""
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                added = "" if "alert" in rule else "".join(f" {value}" for value in rule.get("labels", {}).values())
                yield Query(rule.get("alert") or rule["record"] + added, shortened(rule["expr"]))


def recipes() -> Iterator[Query]:
    """Yield every query of the recipes; each is a block of its own, and `#` begins a comment."""
    for number, block in enumerate(re.findall(r"^```promql\n(.*?)^```$", RECIPES.read_text(), re.M | re.S), 1):
        expression = re.sub(r"\s*#.*", "", block)
        yield Query(f"recipe {number}: {' '.join(expression.split())[:60]}", shortened(expression))


def fast_rules(directory: Path) -> list[Path]:
    """Write the files of rules with the shortened durations, evaluated every second, below `directory`."""
    written = []
    for file in RULES:
        groups: list[dict[str, Any]] = yaml.safe_load(file.read_text())["groups"]
        for group in groups:
            group["interval"] = "1s"
            for rule in group["rules"]:
                rule["expr"] = shortened(rule["expr"])
        copy = directory / file.name
        copy.write_text(json.dumps({"groups": groups}))  # JSON is YAML
        written.append(copy)
    return written


def shortened(expression: str) -> str:
    """Return `expression` with each of DURATIONS shortened. Any other duration is an error: it needs a decision."""

    def short(match: re.Match[str]) -> str:
        return match[1] + DURATIONS[match[2]]

    return re.sub(r"(\[|offset )(\d+[smhd])\b", short, expression)


def filled_in(expression: str) -> str:
    """Return `expression` with the values of VARIABLES. `$rtt` stays."""
    for name, value in VARIABLES.items():
        expression = re.sub(rf"\${name}\b", value, expression)
    assert re.findall(r"\$(?!rtt\b)\w+", re.sub(r'"\$\d"', "", expression)) == [], expression
    return shortened(expression)
