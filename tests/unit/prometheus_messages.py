"""Prometheus' protobuf messages as Google's library reads them, from the definition written down here.

Names and numbers: https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "string": _TYPES.TYPE_STRING,
    "double": _TYPES.TYPE_DOUBLE,
    "uint32": _TYPES.TYPE_UINT32,
    "uint64": _TYPES.TYPE_UINT64,
    "sint32": _TYPES.TYPE_SINT32,
    "sint64": _TYPES.TYPE_SINT64,
    "int32": _TYPES.TYPE_INT32,
    "int64": _TYPES.TYPE_INT64,
}

_MESSAGES: Mapping[str, str] = {
    "Timestamp": "seconds int64 1, nanos int32 2",
    "LabelPair": "name string 1, value string 2",
    "Gauge": "value double 1",
    "Counter": "value double 1, created_timestamp Timestamp 3",
    "Untyped": "value double 1",
    "Bucket": "cumulative_count uint64 1, upper_bound double 2",
    "BucketSpan": "offset sint32 1, length uint32 2",
    "Histogram": "sample_count uint64 1, sample_sum double 2, bucket *Bucket 3, schema sint32 5, "
    "zero_threshold double 6, zero_count uint64 7, "
    "positive_span *BucketSpan 12, positive_delta *sint64 13, created_timestamp Timestamp 15",
    "Metric": "label *LabelPair 1, gauge Gauge 2, counter Counter 3, untyped Untyped 5, histogram Histogram 7",
    "MetricFamily": "name string 1, help string 2, type int32 3, metric *Metric 4",
}


def _family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="io.prometheus.client", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for declaration in fields.split(", "):
            field, kind, number = declaration.split()
            label = _TYPES.LABEL_REPEATED if kind.startswith("*") else _TYPES.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            added = message.field.add(name=field, number=int(number), label=label)
            if kind in _KINDS:
                added.type = _KINDS[kind]
            else:
                added.type, added.type_name = _TYPES.TYPE_MESSAGE, f".io.prometheus.client.{kind}"
            if field == "positive_delta":
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("io.prometheus.client.MetricFamily"))


_FAMILY = _family_class()


def families(body: bytes) -> Iterator[Any]:
    """Yield the messages MetricFamily of a body, each after its length as a varint."""
    position = 0
    while position < len(body):
        length = shift = 0
        while True:
            byte = body[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        family = _FAMILY.FromString(body[position : position + length])
        known = family.ByteSize()
        family.DiscardUnknownFields()
        assert family.ByteSize() == known, f"{family.name} has fields that are not in the definition"
        yield family
        position += length
    assert position == len(body)


def labels_of(metric: Any) -> dict[str, str]:
    """Return the labels of a Metric."""
    return {label.name: label.value for label in metric.label}


def bucket_counts(histogram: Any) -> dict[int, int]:
    """Return the count of each bucket of a native histogram by its index, by the specification's text.

    https://prometheus.io/docs/specs/native_histograms/: a span's offset is its distance from the end of the one before,
    and a delta is the difference to the bucket before, or to 0 for the first.
    """
    counts: dict[int, int] = {}
    index = count = 0
    deltas = iter(histogram.positive_delta)
    for span in histogram.positive_span:
        index += span.offset
        for _ in range(span.length):
            count += next(deltas)
            counts[index] = count
            index += 1
    assert next(deltas, None) is None
    return counts
