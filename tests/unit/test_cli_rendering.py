"""Tables as data and as plain text: the cells, the format of numbers, and the order."""

from __future__ import annotations

import io
from typing import Any, cast

import pytest
from rich.console import Console

from monlat_ebpf.cli.rendering import Cell, Column, Table, Tone, matrix, milliseconds, narrowed, peers_table
from monlat_ebpf.cli.screen import as_rich, as_text
from monlat_ebpf.exposition.api import PairDocument, PeersDocument
from tests.unit.fake_agent import answer, pair


def peers_of(document: dict[str, Any]) -> Table:
    return peers_table(cast(PeersDocument, document))


def matrix_of(*pairs: dict[str, Any]) -> Table:
    return matrix([cast(PairDocument, pair) for pair in pairs])


def between(sender: str, receiver: str, last_ms: float | None, **changes: Any) -> dict[str, Any]:
    rtt = {"last": None if last_ms is None else last_ms / 1e3, "p50": None, "p99": None, "min": None, "max": None}
    return pair(receiver, **{"from": sender, "rtt_seconds": rtt, **changes})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.0000"),
        (0.00094, "0.0009"),
        (0.0094, "0.0094"),
        (0.00996, "0.010"),
        (0.0431, "0.043"),
        (0.436, "0.436"),
        (0.9994, "0.999"),
        (0.9996, "1.00"),
        (1.274, "1.27"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (103.4, "103"),
        (8000.0, "8000"),
        (-0.0015, "-0.0015"),
        (-12.34, "-12.3"),
    ],
)
def test_milliseconds_have_three_digits(value: float | None, text: str) -> None:
    """Three digits, or two where the third is below a microsecond; rounding adds none."""
    assert milliseconds(None if value is None else value / 1e3) == text


def test_peers_table_has_a_row_for_each_pair() -> None:
    """4 lost of 23 are 17.4 %. A peer without probes yet has dashes."""
    silent = pair(
        "node10",
        family="ipv6",
        address="fd00::10",
        to_zone="",
        device="",
        sent=0,
        replies=0,
        lost=0,
        results={},
        rtt_seconds={"last": None, "p50": None, "p99": None, "min": None, "max": None},
    )
    assert as_text(peers_of(answer(pair("node2"), silent))) == (
        "node node1, source tracepoint, a probe every 1 s, lost after 0.5 s; times in ms\n"
        "TO      ZONE  FAMILY  ADDRESS   DEVICE  SENT  LOST   LOSS   LAST    P50   P99     MIN  MAX  LOST AT\n"
        "node2   b     ipv4    10.0.0.2  eth0      23     4  17.4%  0.043  0.050  1.27  0.0094  103"
        "  network 3, unreachable 1\n"
        "node10  -     ipv6    fd00::10  -          0     0      -      -      -     -       -    -\n"
    )


def test_title_shows_why_the_source_is_not_the_first_choice() -> None:
    """A fallback is visible in every table."""
    title = peers_of(answer(source="socket", source_reason="no BTF")).title
    assert title == "node node1, source socket (no BTF), a probe every 1 s, lost after 0.5 s; times in ms"


def test_table_without_peers_has_only_a_head() -> None:
    """The table of an agent without peers."""
    lines = as_text(peers_of(answer())).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("TO  ZONE  FAMILY")


def test_silent_peer_is_highlighted() -> None:
    """Its last RTT and its losses have a colour."""
    (row,) = peers_of(answer(between("node1", "node2", None))).rows
    assert [cell.text for cell in row if cell.tone is Tone.BAD] == ["4", "17.4%", "-", "network 3, unreachable 1"]


def test_matrix_has_a_row_for_each_sender_and_a_column_for_each_receiver() -> None:
    """Nodes are sorted by number. A pair that is not measured is a dash, one without replies is lost."""
    table = matrix_of(
        between("node10", "node2", 12.34),
        between("node2", "node10", 0.436),
        between("node2", "node1", None),
        between("node10", "node1", None, lost=0),
    )
    assert as_text(table) == (
        "RTT in ms, last\n"
        "FROM \\ TO  node1  node2  node10\n"
        "node2       lost      -   0.436\n"
        "node10         -   12.3       -\n"
    )


def test_matrix_shows_the_first_family_that_answers() -> None:
    """As in `latency_between_nodes`: IPv6 is shown only where IPv4 has no time."""
    table = matrix_of(
        between("a", "b", None),
        between("a", "b", 2.0, family="ipv6"),
        between("b", "a", 3.0),
        between("b", "a", 4.0, family="ipv6"),
    )
    assert [[cell.text for cell in row] for row in table.rows] == [["a", "-", "2.00"], ["b", "3.00", "-"]]


def test_matrix_prefers_an_answering_family_to_one_not_probed_yet() -> None:
    """A family without probes has no time either."""
    table = matrix_of(between("a", "b", None, lost=0), between("a", "b", 2.0, family="ipv6"))
    assert [cell.text for cell in table.rows[0]] == ["a", "-", "2.00"]


def test_spare_columns_are_left_out_one_rank_at_a_time() -> None:
    """The highest rank goes first, columns of one rank go together, and the note names them."""
    table = Table(
        "title",
        (Column("A"), Column("B", spare=1), Column("C", spare=2), Column("D", spare=1)),
        ((Cell("a"), Cell("b"), Cell("c"), Cell("d")),),
    )
    assert [
        ("".join(column.head for column in each.columns), [cell.text for cell in each.rows[0]], each.note)
        for each in narrowed(table)
    ] == [
        ("ABCD", ["a", "b", "c", "d"], ""),
        ("ABD", ["a", "b", "d"], "left out to fit: C"),
        ("A", ["a"], "left out to fit: C, B, D"),
    ]


def test_unprintable_characters_are_escaped() -> None:
    """A node name in a forged answer cannot clear the screen."""
    assert as_text(matrix_of(between("a\x1b[2J", "b", 1.0))).splitlines()[2] == "a\\x1b[2J          -  1.00"


def test_rich_draws_the_same_cells_without_markup() -> None:
    """A name in brackets is not a colour."""
    stream = io.StringIO()
    Console(file=stream, width=200).print(as_rich(matrix_of(between("[red]a", "b", 0.436))))
    drawn = stream.getvalue()
    assert "RTT in ms, last" in drawn
    assert ["[red]a", "-", "0.436"] in [line.split() for line in drawn.splitlines()]
