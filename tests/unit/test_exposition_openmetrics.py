"""The text format of OpenMetrics 1.0, as prometheus_client's strict parser reads it."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.exposition.text import TextEncoder
from tests.unit import snapshots


def parse_openmetrics(text: str) -> list[Metric]:
    parsed: Iterable[Metric] = parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return list(parsed)


def openmetrics_text() -> str:
    exposition = snapshots.exposition(lambda: TextEncoder(is_openmetrics=True))
    return (snapshots.render(exposition, snapshots.SMALL_CLUSTER) + SelfMetrics().openmetrics()).decode()


def test_document_is_valid() -> None:
    """The parser, which refuses what the specification forbids, accepts the whole document, up to its end."""
    text = openmetrics_text()
    assert text.endswith("# EOF\n")
    assert len(list(parse_openmetrics(text))) > 25


def test_series_are_those_of_the_text_format() -> None:
    """Every name, label and number is the same, so that a Prometheus may change the format at any time."""
    classic = snapshots.render(snapshots.exposition(), snapshots.SMALL_CLUSTER).decode()
    expected = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(classic)
        for sample in family.samples
    }
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_openmetrics(openmetrics_text())
        for sample in family.samples
    }
    assert {series: found[series] for series in expected} == expected


def test_types_name_counters_without_their_ending() -> None:
    """A counter's family is named without `_total`; there are no series `_created`, which Prometheus would store."""
    types = {family.name: family.type for family in parse_openmetrics(openmetrics_text())}
    assert types["monlat_probes_sent"] == "counter"
    assert types["monlat_rtt_seconds"] == "histogram"
    assert types["latency_between_nodes"] == "gauge"
    assert "_created" not in openmetrics_text()
