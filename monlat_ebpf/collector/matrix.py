"""The JSON of `/api/v1/matrix`: one measure of all pairs. Pure. docs/collector.md describes it.

Made for 1,000 nodes and a page that draws them at once: a letter for each cell says its state, and the numbers of the
measured cells follow in the same order. So a cell without a number costs one byte, and none can be taken for another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from monlat_ebpf.collector import loss
from monlat_ebpf.collector.answer import MEASURED, NOT_PROBED, STALE, VALUES
from monlat_ebpf.collector.store import NodeView, state_of
from monlat_ebpf.exposition.chunks import in_chunks

RTT_OVER_PAST: Final = "rtt_over_past"
"""The last RTT, divided by the median of the pair's own history."""

MEASURES: Final[Mapping[str, str]] = {
    **dict.fromkeys(VALUES, "seconds"),
    **dict.fromkeys(loss.MEASURES, "ratio"),
    RTT_OVER_PAST: "ratio",
}
"""The name of each measure, and its unit."""

_SELF: Final = ord("-")


def render_matrix(
    nodes: Sequence[NodeView], measure: str, *, unix_seconds: float, interval_seconds: float
) -> Iterator[bytes]:
    """Yield the document in chunks."""
    return in_chunks(_pieces(nodes, measure, unix_seconds, interval_seconds))


def _pieces(nodes: Sequence[NodeView], measure: str, unix_seconds: float, interval_seconds: float) -> Iterator[bytes]:
    head = {
        "measure": measure,
        "unix_seconds": unix_seconds,
        "interval_seconds": interval_seconds,
        "nodes": [node_document(node) for node in nodes],
    }
    yield json.dumps(head).removesuffix("}").encode()
    columns = {node.name: column for column, node in enumerate(nodes)}
    numbers = []
    yield b', "states": ['
    for number, node in enumerate(nodes):
        states, values = row_cells(node, measure, number, columns)
        yield b'%b"%b"' % (b",\n" if number else b"", states)
        numbers.append(values)
    yield b'], "values_%b": [' % MEASURES[measure].encode()
    for number, values in enumerate(numbers):
        yield b"%b[%b]" % (b",\n" if number else b"", ",".join(map(_text, values)).encode())
    yield b"]}\n"


def node_document(node: NodeView) -> dict[str, Any]:
    """Return what is said of a node and its agent."""
    return {
        "name": node.name,
        "zone": node.zone,
        "is_stale": node.is_stale,
        "age_seconds": None if node.age_seconds is None else round(node.age_seconds, 3),
        "failure": None if node.failure is None else node.failure.failure.value,
        "failure_text": None if node.failure is None else str(node.failure),
    }


def row_cells(node: NodeView, measure: str, number: int, columns: Mapping[str, int]) -> tuple[bytes, list[float]]:
    """Return the states of a row and the numbers of its measured cells, in the order of `columns`.

    `number` is the column of the node itself.
    """
    states = bytearray((STALE if node.row is None else NOT_PROBED,)) * len(columns)
    states[number] = _SELF
    values: list[tuple[int, float]] = []
    if node.row is not None:
        of_pairs = measure_of(node, measure)
        for position, to in enumerate(node.row.to):
            column = columns.get(to)
            if column is None:
                continue
            states[column] = state = state_of(node, position)
            if state == MEASURED:
                values.append((column, of_pairs[position]))
    values.sort()
    return bytes(states), [value for _, value in values]


def measure_of(node: NodeView, measure: str) -> Sequence[float]:
    """Return a measure of all pairs of the node's row, NaN where there is no number."""
    if node.row is None:
        return ()
    if measure == RTT_OVER_PAST:
        rtts = node.row.values["rtt"]
        return [rtt / typical if typical else math.nan for rtt, typical in zip(rtts, node.typical_rtts, strict=True)]
    return node.row.values[measure] if measure in node.row.values else node.losses[measure]


def _text(value: float) -> str:
    return "null" if math.isnan(value) else f"{value:.5g}"
