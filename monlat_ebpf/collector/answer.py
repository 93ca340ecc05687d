"""What an agent answered at /api/v1/peers, checked. Pure.

An agent is another program, perhaps another version, perhaps not an agent at all. So nothing of its answer is used
before its type and range are known, and nothing is kept but the numbers of pairs between known nodes.
"""

from __future__ import annotations

import json
import math
import sys
from array import array
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from monlat_ebpf.collector.fetch import AskError, Failure
from monlat_ebpf.model import PeerKind, Result

MEASURED, LOST, NOT_PROBED, STALE = b"mlns"
"""States of a cell, as the bytes that `Row.states` and the JSON of the matrix have."""

VALUES: Final = {
    "rtt": ("rtt_seconds", "last"),
    "rtt_p50": ("rtt_seconds", "p50"),
    "rtt_p99": ("rtt_seconds", "p99"),
    "network_rtt": ("network_rtt_seconds", "last"),
    "network_rtt_p50": ("network_rtt_seconds", "p50"),
    "network_rtt_p99": ("network_rtt_seconds", "p99"),
    "dwell": ("peer_dwell_seconds",),
    "clock_offset": ("clock_offset_seconds",),
    "clock_offset_error": ("clock_offset_error_seconds",),
}
"""The numbers kept of a pair, each with its path in the agent's JSON. All are seconds."""

LOSSES: Final = {
    "host": (Result.LOST_HOST, Result.SEND_ERROR),
    "forward": (Result.LOST_FORWARD,),
    "return": (Result.LOST_RETURN,),
    "network": (Result.LOST_NETWORK,),
    "unreachable": (Result.UNREACHABLE,),
}
"""Where probes are lost: on this host, on the way there, on the way back, in the network in an unknown direction;
or an error came back."""

ENDED: Final = "ended"

_EXACT: Final = "rtt"  # in double precision: latency_between_nodes shows the agent's own number
_SIGNED: Final = "clock_offset"
_COUNTER_MASK: Final = 0xFFFF_FFFF
_LOSS_INDICES: Final = {
    name: tuple(index for index, result in enumerate(Result) if result in kinds) for name, kinds in LOSSES.items()
}


@dataclass(frozen=True, slots=True)
class Row:
    """What one agent measures: index k of each array is of the pair to node `to[k]`.

    Of a peer's address families, it is the first that answers, else the first. `values` has an array for each of
    VALUES, NaN where the agent knows no number. `counters` counts probes since the agent's start, modulo 2^32: those
    that ended, and those lost by where (LOSSES).
    """

    to: tuple[str, ...]
    states: bytes
    values: Mapping[str, array[float]]
    counters: Mapping[str, array[int]]
    zone: str


class Pair(NamedTuple):
    """One address family of one node in an answer: its results in the order of Result, and the whole object."""

    to: str
    sent: int
    results: tuple[int, ...]
    document: Mapping[str, Any]


def parse_row(body: bytes, node: str, known: Set[str]) -> Row:
    """Return the pairs from `node` to the `known` nodes. Raises AskError."""
    return row_of(pairs_of(load(body, node), node, known))


def pairs_of(document: Mapping[str, Any], node: str, known: Set[str]) -> list[Pair]:
    """Return the pairs from `node` to the `known` nodes, one for each address family. Raises AskError."""
    pairs = document.get("pairs")
    if not isinstance(pairs, list):
        raise invalid("pairs is not a list")
    found = []
    for position, pair in enumerate(pairs):
        if not isinstance(pair, dict):
            raise invalid(f"pairs[{position}] is not an object")
        if pair.get("from") != node:
            raise AskError(Failure.WRONG_NODE, f"has a pair from {str(pair.get('from'))[:40]!r} at pairs[{position}]")
        to = pair.get("to")
        if pair.get("kind") != PeerKind.NODE or not isinstance(to, str) or to not in known or to == node:
            continue
        results = pair.get("results")
        # interned: the name of a node is in the rows of all others
        found.append(
            Pair(sys.intern(to), count(pair, "sent"), tuple(count(results, result) for result in Result), pair)
        )
    return found


def row_of(pairs: Iterable[Pair]) -> Row:
    """Return the row of `pairs`: of each node, the first address family that answers. Raises AskError."""
    chosen: dict[str, Pair] = {}
    zone = ""
    for pair in pairs:
        zone = zone or text(pair.document, "from_zone")
        before = chosen.get(pair.to)
        if before is None or (_last(before) is None and _last(pair) is not None):
            chosen[pair.to] = pair
    return _row(chosen, zone)


def load(body: bytes, node: str) -> Mapping[str, Any]:
    """Return the JSON object in `body` if it is of `node`. Raises AskError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid("it is not JSON") from error
    if not isinstance(document, dict):
        raise invalid("it is not a JSON object")
    if document.get("node") != node:
        raise AskError(Failure.WRONG_NODE, f"says that it is {str(document.get('node'))[:40]!r}")
    return document


def _row(chosen: Mapping[str, Pair], zone: str) -> Row:
    values = {name: array("d" if name == _EXACT else "f") for name in VALUES}
    counters = {name: array("I") for name in (ENDED, *LOSSES)}
    states = bytearray()
    for pair in chosen.values():
        for name, path in VALUES.items():
            values[name].append(_number_at(pair.document, path, least=-math.inf if name == _SIGNED else 0.0))
        ended = sum(pair.results)
        counters[ENDED].append(ended & _COUNTER_MASK)
        for name, indices in _LOSS_INDICES.items():
            counters[name].append(sum(pair.results[index] for index in indices) & _COUNTER_MASK)
        states.append(MEASURED if _last(pair) is not None else LOST if ended else NOT_PROBED)
    return Row(tuple(chosen), bytes(states), values, counters, zone)


def _last(pair: Pair) -> object:
    rtt = pair.document.get("rtt_seconds")
    return rtt.get("last") if isinstance(rtt, dict) else None


def _number_at(pair: Mapping[str, Any], path: tuple[str, ...], least: float) -> float:
    value: Any = pair
    for key in path:
        if not isinstance(value, dict) or key not in value:
            raise invalid(f"a pair lacks {'.'.join(path)}")
        value = value[key]
    return math.nan if value is None else number(value, ".".join(path), least)


def number(value: object, path: str, least: float = 0.0) -> float:
    """Return a finite number of at least `least`. Raises AskError that names `path`."""
    if type(value) is float and least <= value < math.inf:  # the usual case, in the shortest time
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
        if math.isfinite(found) and found >= least:
            return found
    raise invalid(f"{path} is {str(value)[:40]!r}")


def count(parent: object, key: str) -> int:
    """Return the number of events at `key` of an object. Raises AskError."""
    value = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise invalid(f"{key} is {str(value)[:40]!r}")
    return value


def text(parent: Mapping[str, Any], key: str) -> str:
    """Return the printable text at `key`, at most 300 characters. Raises AskError."""
    value = parent.get(key)
    if not isinstance(value, str) or len(value) > 300 or not (value.isprintable() or not value):
        raise invalid(f"{key} is {str(value)[:40]!r}")
    return value


def invalid(reason: str) -> AskError:
    """Return the error about an answer that is not one of an agent."""
    return AskError(Failure.INVALID, f"sends an answer that cannot be used: {reason}")
