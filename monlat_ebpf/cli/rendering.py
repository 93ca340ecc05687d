"""The tables that the commands show, as data: columns and cells of text. `screen.py` draws them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress
from typing import Literal

from monlat_ebpf.exposition.api import AgentDocument, PairDocument, PeersDocument

RttKind = Literal["last", "p50", "p99", "min", "max"]

_NOTHING = "-"
_DECIMALS = ((0.00995, 4), (0.9995, 3), (9.995, 2), (99.95, 1))
"""Below each limit in milliseconds, the number of decimals. Rounding adds no digit at these limits."""

_RESULT_NAMES = {
    "lost_network": "network",
    "lost_forward": "forward",
    "lost_return": "return",
    "lost_host": "host",
    "unreachable": "unreachable",
    "send_error": "send error",
}


class Tone(StrEnum):
    """What a cell means, for an output with colours. Each letter of a BAR has its own colour."""

    PLAIN = ""
    FAINT = "faint"
    WARNING = "warning"
    BAD = "bad"
    BAR = "bar"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column. Numbers are aligned `right`. Of columns with `spare` > 0, the highest is left out first."""

    head: str
    right: bool = False
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table. Every row has a cell for each column; `note` is the line below it."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of text, each with its tone. A terminal may wrap them."""

    lines: tuple[Cell, ...]


Layout = tuple[Table | Lines, ...]
"""What a command shows, from top to bottom."""


_PEERS_COLUMNS = (
    Column("TO"),
    Column("ZONE", spare=2),
    Column("FAMILY", spare=4),
    Column("ADDRESS"),
    Column("DEVICE", spare=3),
    Column("SENT", right=True),
    Column("LOST", right=True),
    Column("LOSS", right=True),
    Column("LAST", right=True),
    Column("P50", right=True),
    Column("P99", right=True),
    Column("MIN", right=True, spare=1),
    Column("MAX", right=True, spare=1),
    Column("LOST AT", spare=5),
)


def milliseconds(seconds: float | None) -> str:
    """Write a time in milliseconds with three digits, or fewer where the third is below 1 µs: 0.043, 1.27, 103.

    A direction can be negative, by the error of the clock offset. None is "-".
    """
    if seconds is None:
        return _NOTHING
    value = seconds * 1e3
    decimals = next((decimals for limit, decimals in _DECIMALS if abs(value) < limit), 0)
    return f"{value:.{decimals}f}"


def peers_table(answer: PeersDocument) -> Table:
    """Return a row for each pair of one agent."""
    return Table(title(answer), _PEERS_COLUMNS, tuple(_pair_row(pair) for pair in answer["pairs"]))


def matrix(pairs: Sequence[PairDocument], kind: RttKind = "last") -> Table:
    """Return the round-trip times between nodes, in milliseconds: a row for each `from`, a column for each `to`.

    If a pair has two families, show the first that has a time, as `latency_between_nodes` does. A pair without a time
    is "lost" when its probes were lost, and "-" when it is not probed.
    """
    senders = sorted({pair["from"] for pair in pairs}, key=_by_number)
    receivers = sorted({pair["to"] for pair in pairs} | set(senders), key=_by_number)
    families: dict[tuple[str, str], list[PairDocument]] = {}
    for pair in pairs:
        families.setdefault((pair["from"], pair["to"]), []).append(pair)
    columns = (Column("FROM \\ TO"), *(Column(printable(node), right=True) for node in receivers))
    rows = tuple(
        (
            Cell(printable(sender)),
            *(_matrix_cell(families.get((sender, receiver), ()), kind) for receiver in receivers),
        )
        for sender in senders
    )
    return Table(f"RTT in ms, {kind}", columns, rows)


def narrowed(table: Table) -> Iterator[Table]:
    """Yield `table`, then narrower ones: each leaves out one more rank of spare columns, which its note names."""
    yield table
    left_out: list[str] = []
    for rank in sorted({column.spare for column in table.columns if column.spare}, reverse=True):
        left_out += [column.head for column in table.columns if column.spare == rank]
        keep = [column.spare < rank for column in table.columns]
        yield Table(
            table.title,
            tuple(compress(table.columns, keep)),
            tuple(tuple(compress(row, keep)) for row in table.rows),
            f"left out to fit: {', '.join(left_out)}",
        )


def printable(text: str) -> str:
    """Return `text` with unprintable characters escaped, so that it cannot control a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def title(answer: AgentDocument) -> str:
    """Name the agent's node, and say how it measures."""
    return printable(
        f"node {answer['node']}, source {source_text(answer)}, a probe every {answer['interval_seconds']:g} s, "
        f"lost after {answer['timeout_seconds']:g} s; times in ms"
    )


def source_text(answer: AgentDocument) -> str:
    """Name the source, and say why it is not the first choice."""
    return answer["source"] + (f" ({answer['source_reason']})" if answer["source_reason"] else "")


def _pair_row(pair: PairDocument) -> tuple[Cell, ...]:
    rtt = pair["rtt_seconds"]
    ended = pair["replies"] + pair["lost"]
    lost_tone = Tone.BAD if pair["lost"] else Tone.PLAIN
    return (
        *(
            Cell(printable(text) or _NOTHING)
            for text in (pair["to"], pair["to_zone"], pair["family"], pair["address"], pair["device"])
        ),
        Cell(str(pair["sent"])),
        Cell(str(pair["lost"]), lost_tone),
        Cell(loss(pair), lost_tone),
        Cell(milliseconds(rtt["last"]), Tone.BAD if rtt["last"] is None and ended else Tone.PLAIN),
        *(Cell(milliseconds(value)) for value in (rtt["p50"], rtt["p99"], rtt["min"], rtt["max"])),
        Cell(lost_at(pair), lost_tone),
    )


def loss(pair: PairDocument) -> str:
    """Return the lost part of the ended probes: "17.4%"; "-" before the first has ended."""
    ended = pair["replies"] + pair["lost"]
    return f"{100 * pair['lost'] / ended:.3g}%" if ended else _NOTHING


def lost_at(pair: PairDocument) -> str:
    """Say where probes were lost: "network 3, host 1"."""
    results = pair["results"]
    return ", ".join(f"{name} {results[key]}" for key, name in _RESULT_NAMES.items() if results.get(key))


def _matrix_cell(families: Sequence[PairDocument], kind: RttKind) -> Cell:
    for pair in families:
        if (value := pair["rtt_seconds"][kind]) is not None:
            return Cell(milliseconds(value))
    return Cell("lost", Tone.BAD) if any(pair["lost"] for pair in families) else Cell(_NOTHING, Tone.FAINT)


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts node2 before node10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
