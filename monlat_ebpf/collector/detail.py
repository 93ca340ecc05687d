"""What an agent answered at /api/v1/peers?peer=NAME, checked and copied. Pure. The keys are the agent's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from monlat_ebpf.collector.answer import count, invalid, load, number, text
from monlat_ebpf.model import Family, Result

_MOST_PROBES: Final = 64  # the agent keeps 16
_MOST_DEVICES: Final = 64

Document = dict[str, Any]


def parse_detail(body: bytes, node: str, peer: str) -> Document:
    """Return what the agent of `node` says of `peer`. Raises AskError.

    `families` has an object for each address family, with the last probes, oldest first; `source`, `source_reason`,
    `send_delay_seconds` and `reply_stamps` are of all peers of the agent.
    """
    document = load(body, node)
    pairs = [pair for pair in _objects(document, "pairs", len(Family)) if pair.get("to") == peer]
    return {
        "source": text(document, "source"),
        "source_reason": text(document, "source_reason"),
        "send_delay_seconds": _numbers(document.get("send_delay_seconds"), ("p50", "p99")),
        "reply_stamps": [
            {"device": text(stamps, "device"), "driver": count(stamps, "driver"), "stack": count(stamps, "stack")}
            for stamps in _objects(document, "reply_stamps", _MOST_DEVICES)
        ],
        "families": [_pair(pair) for pair in pairs],
    }


def _pair(pair: Mapping[str, Any]) -> Document:
    queueing = pair.get("queueing_seconds")
    return {
        **_each(pair, text, ("family", "address", "device", "from_zone", "to_zone")),
        **_each(pair, count, ("sent", "in_flight", "late", "duplicates")),
        "results": _each(_object(pair, "results"), count, [result.value for result in Result]),
        "rtt_seconds": _numbers(pair.get("rtt_seconds"), ("last", "p50", "p99", "min", "max")),
        "network_rtt_seconds": _numbers(pair.get("network_rtt_seconds"), ("last", "p50", "p99")),
        "dwell_seconds": _numbers(pair.get("dwell_seconds"), ("p50", "p99")),
        **_numbers(pair, ("peer_dwell_seconds", "clock_offset_seconds", "clock_offset_error_seconds")),
        "queueing_seconds": None if queueing is None else _numbers(queueing, ("forward", "return")),
        "probes": [_probe(probe) for probe in _objects(pair, "probes", _MOST_PROBES)],
    }


_PROBE_TIMES: Final = (
    "sent_unix_seconds",
    "send_delay_seconds",
    "rtt_seconds",
    "peer_dwell_seconds",
    "network_rtt_seconds",
    "forward_seconds",
    "return_seconds",
)


def _probe(probe: Mapping[str, Any]) -> Document:
    return {"sequence": count(probe, "sequence"), "result": text(probe, "result"), **_numbers(probe, _PROBE_TIMES)}


def _each(
    source: Mapping[str, Any], check: Callable[[Mapping[str, Any], str], object], keys: Iterable[str]
) -> Document:
    return {key: check(source, key) for key in keys}


def _numbers(source: object, keys: Iterable[str]) -> Document:
    """Return a finite number or None for each key: a clock's offset or one direction may be below zero."""
    if not isinstance(source, dict):
        raise invalid("it lacks an object with times")
    return {key: None if source.get(key) is None else number(source[key], key, -math.inf) for key in keys}


def _object(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = source.get(key)
    if not isinstance(value, dict):
        raise invalid(f"{key} is not an object")
    return value


def _objects(source: Mapping[str, Any], key: str, most: int) -> list[Mapping[str, Any]]:
    value = source.get(key)
    if not isinstance(value, list) or len(value) > most or not all(isinstance(each, dict) for each in value):
        raise invalid(f"{key} is not a list of at most {most} objects")
    return value
