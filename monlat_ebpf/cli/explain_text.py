"""What `monlat explain` shows of one address of a peer: the last probes as bars, their times, and notes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate
from statistics import median
from typing import Final

from monlat_ebpf.cli.diagnosis import Diagnosis, Queued, Times, Usual, diagnosis
from monlat_ebpf.cli.rendering import Cell, Column, Table, Tone, loss, lost_at, milliseconds, printable, source_text
from monlat_ebpf.exposition.api import AgentDocument
from monlat_ebpf.exposition.peer_detail import ExplainedPairDocument, ProbeDocument
from monlat_ebpf.model import Result

BAR_WIDTH: Final = 32
LEGEND: Final = (
    "bars: s send delay, f forward, d dwell at the peer, r return, n network and peer (no report from the peer)"
)

_ENDED: Final = {
    Result.REPLY: "reply",
    Result.LOST_NETWORK: "lost",
    Result.LOST_FORWARD: "lost forward",
    Result.LOST_RETURN: "lost return",
    Result.LOST_HOST: "lost here",
    Result.UNREACHABLE: "unreachable",
    Result.SEND_ERROR: "not sent",
}
_WATERFALL_COLUMNS: Final = (
    Column("SENT", spare=3),
    Column("PROBE", right=True, spare=4),
    Column("RESULT"),
    Column("SEND DELAY", right=True),
    Column("FORWARD", right=True),
    Column("DWELL", right=True),
    Column("RETURN", right=True),
    Column("RTT", right=True, spare=2),
    Column("WHERE"),
)
_SPREAD_COLUMNS: Final = (
    Column("MS"),
    *(Column(head, right=True) for head in ("MEDIAN", "LARGEST", "USUAL P50", "USUAL P99")),
)


def diagnose(agent: AgentDocument, pair: ExplainedPairDocument) -> Diagnosis:
    """Diagnose the last probes of `pair` against the usual times."""
    usual = Usual(
        send_delay_seconds=agent["send_delay_seconds"]["p50"],
        rtt_seconds=pair["rtt_seconds"]["p50"],
        network_rtt_seconds=pair["network_rtt_seconds"]["p50"],
    )
    queueing = pair["queueing_seconds"]
    queued = Queued(queueing["forward"], queueing["return"]) if queueing else None
    times = [
        Times(Result(probe["result"]), probe["send_delay_seconds"], probe["rtt_seconds"], probe["peer_dwell_seconds"])
        for probe in pair["probes"]
    ]
    return diagnosis(times, usual, queued)


def heading(agent: AgentDocument, pair: ExplainedPairDocument) -> str:
    """Name the two nodes, the address, the zone, the device and the source."""
    zone = f", zone {pair['to_zone']}" if pair["to_zone"] else ""
    device = f", by {pair['device']}" if pair["device"] else ""
    return printable(f"{pair['from']} to {pair['to']}: {pair['address']}{zone}{device}, source {source_text(agent)}")


def waterfall(probes: Sequence[ProbeDocument]) -> Table:
    """Return a row for each probe, oldest first. Its bar is in proportion to the longest probe."""
    longest = max((sum(_lengths(probe).values()) for probe in probes), default=0.0)
    rows = tuple(_probe_row(probe, longest) for probe in probes)
    return Table(f"the last {len(probes)} probes, ms", _WATERFALL_COLUMNS, rows)


def spread(agent: AgentDocument, pair: ExplainedPairDocument) -> Table:
    """Return each part over the last probes, beside its usual time since the peer was added."""
    probes = pair["probes"]
    unknown = (None, None)
    send_delay, rtt, network = agent["send_delay_seconds"], pair["rtt_seconds"], pair["network_rtt_seconds"]
    total = [
        (probe["send_delay_seconds"] or 0.0) + probe["rtt_seconds"]
        for probe in probes
        if probe["rtt_seconds"] is not None
    ]
    rows = (
        ("send delay", [probe["send_delay_seconds"] for probe in probes], (send_delay["p50"], send_delay["p99"])),
        ("RTT", [probe["rtt_seconds"] for probe in probes], (rtt["p50"], rtt["p99"])),
        ("  network RTT", [probe["network_rtt_seconds"] for probe in probes], (network["p50"], network["p99"])),
        ("    forward", [probe["forward_seconds"] for probe in probes], unknown),
        ("    return", [probe["return_seconds"] for probe in probes], unknown),
        ("  dwell", [probe["peer_dwell_seconds"] for probe in probes], unknown),
        ("send delay + RTT", total, unknown),
    )
    title = "the last probes beside the usual times since the peer was added (send delay: to all peers)"
    return Table(title, _SPREAD_COLUMNS, tuple(_spread_row(*row) for row in rows))


def notes(pair: ExplainedPairDocument, route: str) -> list[str]:
    """Return the lines below the tables: losses, route, the peer's clock, and the comparison with user space.

    `route` is the text of the route, "" if none was looked up.
    """
    lines = [_losses(pair)]
    if route:
        lines.append(f"route: {route}" + (f"; handed to the driver of {pair['device']}" if pair["device"] else ""))
    lines += _clock(pair)
    lines.append(
        "A prober in user space measures send delay + RTT and the wake-up of its own process: "
        f"`monlat ping {pair['address']}` shows both."
    )
    return [printable(line) for line in lines]


def bar(lengths: Iterable[tuple[str, float]], longest: float, width: int = BAR_WIDTH) -> str:
    """Return a bar in which each letter takes its length's share; a bar of `longest` has `width` letters."""
    if longest <= 0:
        return ""
    pieces = [(letter, max(length, 0.0)) for letter, length in lengths]
    ends = [round(width * end / longest) for end in accumulate(length for _, length in pieces)]
    starts = [0, *ends]
    return "".join(letter * (end - start) for (letter, _), start, end in zip(pieces, starts, ends, strict=False))


def _probe_row(probe: ProbeDocument, longest: float) -> tuple[Cell, ...]:
    result = Result(probe["result"])
    sent = datetime.fromtimestamp(probe["sent_unix_seconds"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    times = (
        *(probe["send_delay_seconds"], probe["forward_seconds"], probe["peer_dwell_seconds"]),
        *(probe["return_seconds"], probe["rtt_seconds"]),
    )
    return (
        Cell(sent),
        Cell(str(probe["sequence"])),
        Cell(_ENDED[result], Tone.PLAIN if result is Result.REPLY else Tone.BAD),
        *(Cell(milliseconds(time)) for time in times),
        Cell(bar(_lengths(probe).items(), longest), Tone.BAR),
    )


def _lengths(probe: ProbeDocument) -> dict[str, float]:
    """Return the pieces of a probe's bar in the order of time."""
    lengths = {"s": probe["send_delay_seconds"] or 0.0}
    forward, dwell, back = probe["forward_seconds"], probe["peer_dwell_seconds"], probe["return_seconds"]
    if forward is not None and dwell is not None and back is not None:
        # The clock's error can make one direction negative. Then the other direction gets the whole network RTT.
        network = forward + back
        forward = min(max(forward, 0.0), network)
        return {**lengths, "f": forward, "d": dwell, "r": network - forward}
    return {**lengths, "n": probe["rtt_seconds"] or 0.0}


def _spread_row(name: str, times: Sequence[float | None], usual: tuple[float | None, float | None]) -> tuple[Cell, ...]:
    known = [time for time in times if time is not None]
    middle, largest = (median(known), max(known)) if known else (None, None)
    return (Cell(name), *(Cell(milliseconds(time)) for time in (middle, largest, *usual)))


def _losses(pair: ExplainedPairDocument) -> str:
    if not pair["lost"]:
        return f"lost: none of {pair['replies']}"
    return f"lost: {pair['lost']} of {pair['replies'] + pair['lost']}, {loss(pair)}: {lost_at(pair)}"


def _clock(pair: ExplainedPairDocument) -> list[str]:
    offset, error = pair["clock_offset_seconds"], pair["clock_offset_error_seconds"]
    if offset is None or error is None:
        is_target = pair.get("kind") == "target"  # an older agent gives no kind
        why = "no agent is expected on a target" if is_target else "no agent at the peer reports our probes"
        return [f"dwell, network RTT and directions are not known: {why}"]
    side = "ahead of" if offset >= 0 else "behind"
    bound = milliseconds(error)
    return [
        f"clock of {pair['to']}: {milliseconds(abs(offset))} ms {side} ours, ± {bound} ms. "
        f"Forward and return are split by it: each is known to ± {bound} ms, their sum exactly."
    ]
