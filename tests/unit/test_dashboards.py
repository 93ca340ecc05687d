"""The dashboards of manifests/grafana are consistent in themselves.

tests/kernel/test_shipped_queries.py asks their queries.
"""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.manifest_files import MANIFESTS

FILES = sorted((MANIFESTS / "grafana").glob("*.json"))
WIDTH = 24  # columns of Grafana's grid
BUILT_IN = {"__rate_interval", "__data", "__url_time_range"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """Return the cells of the grid that a panel covers."""
    at = panel["gridPos"]
    return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}


def test_there_are_the_four_dashboards() -> None:
    """Each with its own uid, which links and provisioning use."""
    assert [file.stem for file in FILES] == ["agents", "cluster", "pair", "time"]
    assert [read(file)["uid"] for file in FILES] == [f"monlat-{file.stem}" for file in FILES]


@every_file
def test_panels_have_their_own_number_title_and_space(file: Path) -> None:
    """None overlaps another, none is wider than the grid, and no two of a kind have the same title."""
    panels = read(file)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for one, other in combinations(panels, 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])
    assert max(x for panel in panels for x, _ in cells(panel)) < WIDTH


@every_file
def test_every_panel_asks_the_chosen_data_source(file: Path) -> None:
    """The panel, each of its targets, and each variable that asks; no two targets of a panel have the same name."""
    document = read(file)
    for panel in document["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"] == SOURCE
            assert [target["datasource"] for target in panel["targets"]] == [SOURCE] * len(panel["targets"])
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    first, *others = document["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert [variable["datasource"] for variable in others] == [SOURCE] * len(others)


@every_file
def test_every_used_variable_is_defined_and_the_other_way_round(file: Path) -> None:
    """In queries, titles, descriptions, legends and links; a variable uses only those before it."""
    document = read(file)
    names = [variable["name"] for variable in document["templating"]["list"]]
    text = json.dumps({key: value for key, value in document.items() if key != "templating"})
    used = set(re.findall(r"\$\{?([a-z_]+)", text))
    assert used - BUILT_IN <= set(names)
    for position, variable in enumerate(document["templating"]["list"]):
        asked = set(re.findall(r"\$\{?([a-z_]+)", json.dumps(variable.get("query", ""))))
        assert asked <= set(names[:position])
        used |= asked
    assert used >= set(names)


@every_file
def test_links_lead_to_dashboards_that_exist(file: Path) -> None:
    """A link fills in variables that the other dashboard has."""
    document = read(file)
    assert document["tags"] == ["monlat"]
    assert [link["tags"] for link in document["links"]] == [["monlat"]]
    boards = {read(other)["uid"]: read(other) for other in FILES}
    for uid, query in re.findall(r'"/d/([\w-]+)\?([^"]*)"', json.dumps(document)):
        names = {variable["name"] for variable in boards[uid]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", query)) <= names
        assert set(re.findall(r"\$\{(\w+):queryparam\}", query)) <= names


@every_file
def test_every_selector_of_an_agents_metric_has_cluster_and_job(file: Path) -> None:
    """Two clusters, or two networks, are not mixed up. What the collector shows has the cluster alone."""
    for panel in read(file)["panels"]:
        for target in panel.get("targets", ()):
            for name, selector in re.findall(r"\b(monlat[\w:]*|latency_between_nodes)(\{[^}]*\})", target["expr"]):
                assert 'cluster=~"$cluster"' in selector, (panel["title"], name)
                is_collectors = re.match(r"monlat(_collector|_diagnosis|:diagnos)", name)
                assert 'job=~"$job"' in selector or is_collectors, (panel["title"], name)
