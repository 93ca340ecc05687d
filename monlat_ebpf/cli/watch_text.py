"""The table of `monlat watch`: a row for each pair, with the parts of its last probe's time. Pure."""

from __future__ import annotations

from typing import Final

from monlat_ebpf.cli.rendering import Cell, Column, Table, Tone, loss, lost_at, milliseconds, printable, title
from monlat_ebpf.exposition.api import PairDocument, PeersDocument

_COLUMNS: Final = (
    Column("TO"),
    Column("FAMILY", spare=3),
    Column("RTT", right=True),
    Column("P50", right=True),
    Column("P99", right=True),
    Column("NETWORK", right=True),
    Column("P50", right=True),
    Column("P99", right=True),
    Column("DWELL", right=True),
    Column("QUEUED FORWARD", right=True, spare=2),
    Column("QUEUED RETURN", right=True, spare=2),
    Column("OWN DWELL P50", right=True, spare=4),
    Column("LOSS", right=True),
    Column("LOST AT", spare=1),
)


def watch_table(answer: PeersDocument) -> Table:
    """Return a row for each pair: times of the last probe, and quantiles since the peer was added."""
    return Table(title(answer), _COLUMNS, tuple(_row(pair) for pair in answer["pairs"]))


def _row(pair: PairDocument) -> tuple[Cell, ...]:
    rtt, network, queueing = pair["rtt_seconds"], pair["network_rtt_seconds"], pair["queueing_seconds"]
    is_silent = rtt["last"] is None and bool(pair["replies"] + pair["lost"])
    lost_tone = Tone.BAD if pair["lost"] else Tone.PLAIN
    return (
        Cell(printable(pair["to"])),
        Cell(pair["family"]),
        Cell(milliseconds(rtt["last"]), Tone.BAD if is_silent else Tone.PLAIN),
        *(Cell(milliseconds(time)) for time in (rtt["p50"], rtt["p99"])),
        *(Cell(milliseconds(time)) for time in (network["last"], network["p50"], network["p99"])),
        Cell(milliseconds(pair["peer_dwell_seconds"])),
        Cell(milliseconds(queueing["forward"] if queueing else None)),
        Cell(milliseconds(queueing["return"] if queueing else None)),
        Cell(milliseconds(pair["dwell_seconds"]["p50"])),
        Cell(loss(pair), lost_tone),
        Cell(lost_at(pair), lost_tone),
    )
