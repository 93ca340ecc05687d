"""The agent's metrics about itself."""

from __future__ import annotations

import os
import platform

from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from monlat_ebpf.exposition.self_metrics import SelfMetrics


def samples_of(metrics: SelfMetrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def edges_of(metrics: SelfMetrics, name: str) -> list[float]:
    return sorted(float(dict(labels)["le"]) for found, labels in samples_of(metrics) if found == f"{name}_bucket")


def test_schedule_lag_is_counted_by_octave() -> None:
    """A lag of 3 ms is counted from the bucket of 3.9 ms on."""
    metrics = SelfMetrics()
    metrics.schedule_lag.observe([3_000_000])
    samples = samples_of(metrics)
    assert samples["monlat_schedule_lag_seconds_bucket", frozenset({("le", "0.001953125")})] == 0
    assert samples["monlat_schedule_lag_seconds_bucket", frozenset({("le", "0.00390625")})] == 1


def test_buckets_reach_from_microseconds_to_eight_seconds() -> None:
    """The buckets of schedule lag go from 2^-17 s to 8 s, an octave at a time, and to +Inf."""
    metrics = SelfMetrics()
    assert edges_of(metrics, "monlat_schedule_lag_seconds") == [
        *(2.0**octave for octave in range(-17, 4)),
        float("inf"),
    ]


def test_build_info_names_version_python_and_kernel() -> None:
    """monlat_build_info has the versions of monlat, Python and the kernel."""
    labels = [dict(labels) for name, labels in samples_of(SelfMetrics()) if name == "monlat_build_info"]
    assert [sorted(one) for one in labels] == [["kernel", "python", "version"]]
    assert labels[0]["python"] == platform.python_version()
    assert labels[0]["kernel"] == os.uname().release


def test_process_and_python_metrics_are_present() -> None:
    """The usual process_* and python_* are there, without _created series."""
    names = {name for name, _ in samples_of(SelfMetrics())}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"} <= names
    assert {"python_info", "python_gc_collections_total"} <= names
    assert [name for name in names if name.endswith("_created")] == []


def test_two_agents_in_one_process_share_nothing() -> None:
    """Each object has its own registry, in which other modules may register metrics."""
    first, second = SelfMetrics(), SelfMetrics()
    Gauge("monlat_discovery_peers", "Peers found.", registry=first.registry).set(3)
    first.count_http_error("ValueError")
    assert samples_of(first)["monlat_discovery_peers", frozenset()] == 3
    assert samples_of(first)["monlat_http_errors_total", frozenset({("kind", "ValueError")})] == 1
    assert not {"monlat_discovery_peers", "monlat_http_errors_total"} & {name for name, _ in samples_of(second)}
