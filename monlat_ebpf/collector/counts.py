"""What an agent has counted since its start, as it answers at /api/v1/peers?buckets=true, checked. Pure.

An agent of a version without these counts has results alone: its losses count, its times are not known.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from operator import lt
from typing import Any, Final

from monlat_ebpf.abi import layout
from monlat_ebpf.collector.answer import Pair, Row, count, invalid, load, pairs_of, row_of
from monlat_ebpf.diagnosis.window import Counts
from monlat_ebpf.model import Family, HistogramKind, Result

COUNTERS: Final = 1 + len(Result)
_KEYS: Final = {HistogramKind.RTT: "rtt", HistogramKind.NETWORK: "network_rtt", HistogramKind.DWELL: "dwell"}
_FAMILIES: Final = frozenset(Family)

Key = tuple[str, str]
"""A node, and an address family."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Histograms one after another: `numbers` and `counts` of the buckets that are not empty, five bytes for each.

    Those of histogram i end at `ends[i]`.
    """

    numbers: bytearray
    counts: Counts
    ends: Counts

    @staticmethod
    def new() -> Buckets:
        """Return no histograms."""
        return Buckets(bytearray(), array("I"), array("I"))

    def append(self, values: object, path: str) -> None:
        """Add a histogram as agents write it: number, count, number, count. Raises AskError that names `path`."""
        if not isinstance(values, list) or len(values) > 2 * layout.BUCKETS or len(values) % 2:
            raise invalid(f"{path} is not a list of buckets")
        try:
            numbers, counts = bytes(values[::2]), array("I", values[1::2])
        except (TypeError, ValueError, OverflowError) as error:
            raise invalid(f"{path} has {str(error)[:80]}") from error
        if not all(map(lt, numbers, numbers[1:])) or (numbers and numbers[-1] >= layout.BUCKETS):
            raise invalid(f"{path} has buckets out of order")
        self.numbers.extend(numbers)
        self.counts.extend(counts)
        self.ends.append(len(self.numbers))

    def span(self, position: int) -> slice:
        """Return where a histogram is in the arrays."""
        return slice(self.ends[position - 1] if position else 0, self.ends[position])


@dataclass(frozen=True, slots=True)
class AgentCounts:
    """The counts of one answer.

    `counters` has COUNTERS numbers for each of `pairs`: probes sent, and results in the order of Result.

    `histograms` has what the agent's source of time stamps can see of all pairs. `created` is another number after the
    agent has begun to count again. `lag` is one histogram. These are empty and None in an answer without histograms.
    """

    pairs: tuple[Key, ...]
    counters: Sequence[int]
    histograms: Mapping[HistogramKind, Buckets]
    skipped: int
    created: int | None
    lag: Buckets | None

    def is_restarted(self, before: AgentCounts) -> bool:
        """Return whether the agent has begun to count again since `before`, as far as both answers tell."""
        return None not in (self.created, before.created) and self.created != before.created


def parse_answer(body: bytes, node: str, known: Set[str]) -> tuple[Row, AgentCounts]:
    """Return the row of `node` to the `known` nodes, and the counts of the same pairs. Raises AskError."""
    document = load(body, node)
    pairs = pairs_of(document, node, known)
    return row_of(pairs), _counts(document, pairs)


def _counts(document: Mapping[str, Any], pairs: Sequence[Pair]) -> AgentCounts:
    keys = tuple((pair.to, _family(pair)) for pair in pairs)
    if len(set(keys)) < len(keys):
        raise invalid("two pairs are of the same node and family")
    has_counts = "schedule_lag_buckets" in document
    histograms: dict[HistogramKind, Buckets] = {}
    lag = None
    if has_counts:
        histograms = {kind: found for kind in HistogramKind if (found := _histograms(pairs, _KEYS[kind])) is not None}
        lag = Buckets.new()
        lag.append(document["schedule_lag_buckets"], "schedule_lag_buckets")
    return AgentCounts(
        keys,
        array("Q", (number for pair in pairs for number in (pair.sent, *pair.results))),
        histograms,
        count(document, "skipped_probes"),
        count(document, "created_unix_seconds") if has_counts else None,
        lag,
    )


def _family(pair: Pair) -> str:
    family = pair.document.get("family")
    if not isinstance(family, str) or family not in _FAMILIES:
        raise invalid(f"family is {str(family)[:40]!r}")
    return Family(family).value


def _histograms(pairs: Sequence[Pair], key: str) -> Buckets | None:
    """Return the histograms of all pairs; None if the agent does not know those of one."""
    found = Buckets.new()
    for pair in pairs:
        buckets = pair.document.get("buckets")
        if not isinstance(buckets, dict) or key not in buckets:
            raise invalid(f"a pair lacks buckets.{key}")
        if buckets[key] is None:
            return None
        found.append(buckets[key], key)
    return found
