"""The protobuf format, decoded by Google's library and compared with numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from monlat_ebpf.abi.histogram import Filled
from monlat_ebpf.exposition.native_histogram import native_histogram
from monlat_ebpf.exposition.protobuf import METRIC, VALUE_FIELDS, ProtobufEncoder, family_header
from monlat_ebpf.exposition.sections import document
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.exposition.wire import bytes_field
from monlat_ebpf.model import AgentSnapshot, PairSnapshot
from tests.unit import snapshots
from tests.unit.prometheus_messages import bucket_counts, families, labels_of

COUNTER, GAUGE, HISTOGRAM = 0, 1, 4  # of the enum MetricType
CREATED_SECONDS = 1_700_000_000


def families_of(agent: AgentSnapshot) -> dict[str, Any]:
    body = snapshots.render(snapshots.exposition(ProtobufEncoder), agent)
    return {family.name: family for family in families(body)}


def metric_of(metrics: Any, /, **labels: str) -> Any:
    (found,) = (metric for metric in metrics.metric if labels.items() <= labels_of(metric).items())
    return found


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return families_of(snapshots.SMALL_CLUSTER)


def test_families_are_those_of_the_text(small: dict[str, Any]) -> None:
    """All families, with help and type, in the order of the text; a counter's name is that of its series."""
    text = snapshots.render(snapshots.exposition(), snapshots.SMALL_CLUSTER).decode()
    types = {"counter": COUNTER, "gauge": GAUGE, "histogram": HISTOGRAM}
    expected = [
        (family.name + "_total" * (family.type == "counter"), family.documentation, types[family.type])
        for family in text_string_to_metric_families(text)
    ]
    assert [(family.name, family.help, family.type) for family in small.values()] == expected


def test_numbers_are_those_of_the_text(small: dict[str, Any]) -> None:
    """Every counter and gauge has the labels and the number of the text format; a time is within half a step of it."""
    text = snapshots.render(snapshots.exposition(), snapshots.SMALL_CLUSTER).decode()
    expected = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.type != "histogram"
    }
    found = {
        (family.name, frozenset(labels_of(metric).items())): (
            metric.counter.value if family.type == COUNTER else metric.gauge.value
        )
        for family in small.values()
        for metric in family.metric
        if family.type != HISTOGRAM
    }
    assert len(found) == 90
    assert found.keys() == expected.keys()
    half_a_step = {"latency_between_nodes": 2.0**-21, "monlat_clock_offset_seconds": 2.0**-31}
    half_a_step |= {"monlat_clock_offset_error_seconds": 2.0**-31, "monlat_queueing_seconds": 2.0**-31}
    for series, value in found.items():
        assert abs(value - expected[series]) <= half_a_step.get(series[0], 0.0)


def test_histogram_is_native_with_the_buckets_of_the_kernel(small: dict[str, Any]) -> None:
    """64, 436 and 500 us: schema 3, one sample in each of the buckets 49, 71 and 73, whose indexes are 160 less."""
    rtt = metric_of(small["monlat_rtt_seconds"], to="node2", family="ipv4").histogram
    assert (rtt.schema, rtt.zero_threshold, rtt.zero_count) == (3, 2.0**-20, 0)
    assert (rtt.sample_count, rtt.sample_sum) == (3, 1_073_742 / 2**30)  # 0.001 * 2^30 is 1,073,741.8
    assert {index: count for index, count in bucket_counts(rtt).items() if count} == {-111: 1, -89: 1, -87: 1}
    for microseconds, index in ((64, -111), (436, -89), (500, -87)):
        assert 2 ** ((index - 1) / 8) < microseconds / 1e6 <= 2 ** (index / 8)
    assert len(rtt.bucket) == 0


def test_time_over_the_last_edge_is_in_the_bucket_after_it(small: dict[str, Any]) -> None:
    """9 s and 20 us: index 25 ends at 2^(25/8) s, 8.7 s. It stands for all over 8 s."""
    rtt = metric_of(small["monlat_rtt_seconds"], to="node3", family="ipv6").histogram
    assert bucket_counts(rtt) == {-124: 1, 25: 1}


def test_histogram_without_samples_is_native(small: dict[str, Any]) -> None:
    """A new pair has a histogram with schema and zero bucket, without a bucket, at 0."""
    rtt = metric_of(small["monlat_rtt_seconds"], to=snapshots.ODD_NAME).histogram
    assert (rtt.sample_count, rtt.sample_sum, rtt.schema, rtt.zero_threshold) == (0, 0.0, 3, 2.0**-20)
    assert bucket_counts(rtt) == {}


def test_classic_buckets_come_beside_native_ones_on_demand() -> None:
    """24 octaves, cumulative, as in the text; the native part is the same, and so is every other family."""
    usual = families_of(snapshots.SMALL_CLUSTER)
    exposition = snapshots.exposition(lambda: ProtobufEncoder(has_classic=True))
    both = {family.name: family for family in families(snapshots.render(exposition, snapshots.SMALL_CLUSTER))}
    rtt = metric_of(both["monlat_rtt_seconds"], to="node2", family="ipv4").histogram
    counts = {-13: 1, -12: 1, -11: 2}  # 64 us is up to 2^-13 s, 436 us up to 2^-11 s, 500 us up to 2^-10 s
    assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in rtt.bucket] == [
        (2.0**octave, 0 if octave < -13 else counts.get(octave, 3)) for octave in range(-20, 4)
    ]
    for family in both.values():
        for metric in family.metric:
            if family.type == HISTOGRAM:
                metric.histogram.ClearField("bucket")
    assert both == usual


def test_created_timestamps_are_those_of_the_pair_and_of_the_agent() -> None:
    """Counters and histograms of a pair count since the pair is measured, the others since the agent runs."""
    agent = AgentSnapshot(
        "node1", "a", "tracepoint", "", 1.0, 1.0, [snapshots.ANSWERING], created_unix_seconds=1_600_000_000
    )
    for family in families_of(agent).values():
        for metric in family.metric:
            expected = CREATED_SECONDS if "to" in labels_of(metric) else 1_600_000_000
            if family.type == COUNTER:
                assert metric.counter.created_timestamp.seconds == expected
            elif family.type == HISTOGRAM:
                assert metric.histogram.created_timestamp.seconds == expected


def test_clock_that_was_never_set_changes_no_length() -> None:
    """A pair that is measured since 5 s after 1970 is decoded as any other."""
    reading = snapshots.reading(snapshots.ANSWERING)._replace(created_unix_seconds=5)
    pieces = snapshots.exposition(ProtobufEncoder).render(snapshots.agent([]), [reading])

    found = {family.name: family for family in families(document(pieces))}
    assert metric_of(found["monlat_probes_sent_total"]).counter.created_timestamp.seconds == 5
    assert metric_of(found["monlat_rtt_seconds"]).histogram.created_timestamp.seconds == 5


def decoded(first: int, counts: tuple[int, ...], sum_ns: int) -> Any:
    metric = bytes_field(
        METRIC, bytes_field(VALUE_FIELDS["histogram"], native_histogram(Filled(first, counts, sum_ns)))
    )
    (family,) = families(family_header("x", "", "histogram", len(metric)) + metric)
    return family.metric[0].histogram


def filled_strategy() -> st.SearchStrategy[tuple[int, list[int]]]:
    """A first bucket, and counts that fit behind it: often 0, and up to the largest of 32 bits."""
    count = st.one_of(st.just(0), st.integers(0, 5), st.integers(4_090, 4_100), st.integers(0, 2**32 - 1))
    return st.integers(0, 185).flatmap(
        lambda first: st.tuples(st.just(first), st.lists(count, min_size=1, max_size=186 - first))
    )


@given(filled=filled_strategy())
def test_every_count_arrives(filled: tuple[int, list[int]]) -> None:
    """Whatever the buckets hold: bucket 0 is the zero bucket, all others are at their index, and the sums agree."""
    first, counts = filled[0], [*filled[1]]
    counts[0], counts[-1] = counts[0] or 1, counts[-1] or 1  # neither end is empty
    histogram = decoded(first, tuple(counts), 123_456_789)
    expected = {first + position - 160: count for position, count in enumerate(counts) if count}
    zero = expected.pop(-160, 0)
    found = bucket_counts(histogram)
    assert histogram.zero_count == zero
    assert {index: count for index, count in found.items() if count} == expected
    assert histogram.sample_count == sum(counts) == sum(found.values()) + zero
    assert histogram.sample_sum == 132_560_718 / 2**30  # 0.123456789 * 2^30 is 132,560,717.8


@given(filled=filled_strategy())
def test_few_empty_buckets_are_sent(filled: tuple[int, list[int]]) -> None:
    """Within a span no more than two zeros follow each other, and none is at its ends."""
    first, counts = filled[0], [*filled[1]]
    counts[0], counts[-1] = counts[0] or 1, counts[-1] or 1
    found = bucket_counts(decoded(first, tuple(counts), 0))
    empty = [index for index, count in found.items() if count == 0]
    for index in empty:
        assert any(found.get(index - back) for back in (1, 2))
        assert any(found.get(index + ahead) for ahead in (1, 2))


@given(name=st.text(max_size=300), zone=st.text(max_size=300))
def test_any_label_value_survives(name: str, zone: str) -> None:
    """Whatever a peers file calls a node or a zone, the decoder reads back the same; lengths of one and two bytes."""
    found = families_of(snapshots.agent([snapshots.new_pair(name, "10.0.0.9", to_zone=zone)]))
    assert labels_of(metric_of(found["monlat_peer_info"])) == {
        "from": "node1", "family": "ipv4", "to": name, "address": "10.0.0.9", "from_zone": "a", "to_zone": zone,
        "kind": "node",
    }  # fmt: skip
    assert labels_of(metric_of(found["monlat_rtt_seconds"]))["to"] == name
    assert metric_of(found["monlat_probe_results_total"], result="lost_host").counter.value == 0


def test_lone_surrogate_does_not_break_the_scrape() -> None:
    """A name that UTF-8 cannot hold is shown with a question mark instead."""
    found = families_of(snapshots.agent([snapshots.new_pair("x\ud800y", "10.0.0.9")]))
    assert labels_of(metric_of(found["monlat_rtt_seconds"]))["to"] == "x?y"


def test_empty_agent_has_every_family() -> None:
    """Without a peer there are the families without metrics, and the agent's own."""
    pairs: list[PairSnapshot] = []
    found = families_of(snapshots.agent(pairs))
    assert len(found["monlat_rtt_seconds"].metric) == 0
    assert metric_of(found["monlat_peers"]).gauge.value == 0
    assert metric_of(found["monlat_send_delay_seconds"]).histogram.sample_count == 2


def test_metrics_of_the_agent_itself_are_those_of_the_text() -> None:
    """Names, types, labels and numbers that prometheus_client prints, from the same registry."""
    metrics = SelfMetrics()
    metrics.schedule_lag.observe([3_000_000])
    metrics.count_http_error("ValueError")
    metrics.show_source_errors(lambda: {"reading": 7})
    found = {family.name: family for family in families(metrics.protobuf())}
    assert metric_of(found["monlat_http_errors_total"], kind="ValueError").counter.value == 1
    assert metric_of(found["monlat_source_errors_total"], reason="reading").counter.value == 7
    assert labels_of(metric_of(found["monlat_build_info"])).keys() == {"version", "python", "kernel"}
    lag = metric_of(found["monlat_schedule_lag_seconds"]).histogram
    assert (lag.sample_count, lag.sample_sum) == (1, 0.003)
    assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in lag.bucket] == [
        *((2.0**octave, int(octave >= -8)) for octave in range(-17, 4)),
        (math.inf, 1),
    ]
    text = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}
    types = {"counter": COUNTER, "histogram": HISTOGRAM}
    expected = {
        name + "_total" * (family.type == "counter"): types.get(family.type, GAUGE) for name, family in text.items()
    }
    assert {name: family.type for name, family in found.items()} == expected
