"""What the commands show, as tables of text: which cells there are, not how they reach the screen. Pure."""

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
"""Below each limit, so many decimals: the limits stand where rounding would add a digit."""

_RESULT_NAMES = {
    "lost_network": "network",
    "lost_forward": "forward",
    "lost_return": "return",
    "lost_host": "host",
    "unreachable": "unreachable",
    "send_error": "send error",
}


class Tone(StrEnum):
    """How a cell is meant, for whoever has colours. Each letter of a BAR is a colour of its own."""

    PLAIN = ""
    FAINT = "faint"
    BAD = "bad"
    BAR = "bar"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column; numbers stand on the right. `spare` above 0: the higher, the sooner it gives way."""

    head: str
    right: bool = False
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table: every row has a cell for each column. `note` stands below it."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


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


def milliseconds(value: float | None) -> str:
    """Write milliseconds to three digits or to the microsecond, what is less: 0.043, 1.27, 103; "-" for None."""
    if value is None:
        return _NOTHING
    decimals = next((decimals for limit, decimals in _DECIMALS if value < limit), 0)
    return f"{value:.{decimals}f}"


def peers_table(answer: PeersDocument) -> Table:
    """Return one agent's pairs, a row each."""
    return Table(title(answer), _PEERS_COLUMNS, tuple(_pair_row(pair) for pair in answer["pairs"]))


def matrix(pairs: Sequence[PairDocument], kind: RttKind = "last") -> Table:
    """Return the round-trip times between nodes, in milliseconds: a row for each `from`, a column for each `to`.

    Of two families of a pair it shows the first that has a time, as `latency_between_nodes` does. A pair that was
    probed and has no time is "lost", a pair that nobody probes is "-".
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
    """Yield `table`, and then without its spare columns, one rank after the other; the note says which are left out."""
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
    """Return `text` with what could steer a terminal written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def title(answer: AgentDocument) -> str:
    """Say whose answer it is, and how that agent measures."""
    source = answer["source"] + (f" ({answer['source_reason']})" if answer["source_reason"] else "")
    return printable(
        f"node {answer['node']}, source {source}, a probe each {answer['interval_seconds']:g} s, "
        f"lost after {answer['timeout_seconds']:g} s; RTT in ms"
    )


def _pair_row(pair: PairDocument) -> tuple[Cell, ...]:
    rtt = pair["rtt_ms"]
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
    """Say which part of the probes that ended was lost: "17.4%"; "-" before one ended."""
    ended = pair["replies"] + pair["lost"]
    return f"{100 * pair['lost'] / ended:.3g}%" if ended else _NOTHING


def lost_at(pair: PairDocument) -> str:
    """Say where the lost probes ended: "network 3, host 1"."""
    results = pair["results"]
    return ", ".join(f"{name} {results[key]}" for key, name in _RESULT_NAMES.items() if results.get(key))


def _matrix_cell(families: Sequence[PairDocument], kind: RttKind) -> Cell:
    for pair in families:
        if (value := pair["rtt_ms"][kind]) is not None:
            return Cell(milliseconds(value))
    return Cell("lost", Tone.BAD) if any(pair["lost"] for pair in families) else Cell(_NOTHING, Tone.FAINT)


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sort key in which node2 comes before node10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
