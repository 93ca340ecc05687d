"""The agent's metrics about itself in the protobuf format, which prometheus_client does not write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from math import inf

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from monlat_ebpf.exposition.protobuf import METRIC, VALUE_FIELDS, family_header, label_fields
from monlat_ebpf.exposition.wire import bytes_field, double, double_tag, varint_field

_ENDINGS = {"counter": "_total", "info": "_info"}
_TYPES = {"counter": "counter", "gauge": "gauge", "info": "gauge", "histogram": "histogram"}


def families(metrics: Iterable[Metric]) -> bytes:
    """Return a MetricFamily for each of prometheus_client's; one of a type that has none here is `unknown`."""
    return b"".join(map(_family, metrics))


def _family(metric: Metric) -> bytes:
    kind = _TYPES.get(metric.type, "unknown")
    name = metric.name + _ENDINGS.get(metric.type, "")
    samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    values = _histograms(metric.name, samples) if kind == "histogram" else map(_value, samples)
    metrics = b"".join(
        bytes_field(METRIC, label_fields(list(labels.items())) + bytes_field(VALUE_FIELDS[kind], value))
        for labels, value in values
    )
    return family_header(name, metric.documentation, kind, len(metrics)) + metrics


def _value(sample: Sample) -> tuple[dict[str, str], bytes]:
    return sample.labels, double_tag(1) + double(sample.value)


def _histograms(name: str, samples: Iterable[Sample]) -> Iterator[tuple[dict[str, str], bytes]]:
    """Yield the message Histogram of each series, with classic buckets."""

    def without_edge(sample: Sample) -> dict[str, str]:
        return {label: value for label, value in sample.labels.items() if label != "le"}

    for labels, group in groupby(samples, without_edge):
        content = []
        for sample in group:
            if sample.name == f"{name}_bucket":
                edge = inf if sample.labels["le"] == "+Inf" else float(sample.labels["le"])
                bucket = varint_field(1, int(sample.value)) + double_tag(2) + double(edge)
                content.append(bytes_field(3, bucket))
            elif sample.name == f"{name}_count":
                content.append(varint_field(1, int(sample.value)))
            else:
                content.append(double_tag(2) + double(sample.value))
        yield labels, b"".join(content)
