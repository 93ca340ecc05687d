"""What `monlat explain` shows of one address of a peer: a waterfall of the last probes, their spread, prose. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate
from statistics import median
from typing import Final

from monlat_ebpf.cli.diagnosis import Diagnosis, Queued, Times, Usual, diagnosis
from monlat_ebpf.cli.rendering import Cell, Column, Table, Tone, loss, lost_at, milliseconds, printable
from monlat_ebpf.exposition.api import AgentDocument
from monlat_ebpf.exposition.peer_detail import ExplainedPairDocument, ProbeDocument
from monlat_ebpf.model import Result

BAR_WIDTH: Final = 32
LEGEND: Final = "bars: s send delay, f forward, d dwell at the peer, r return, n network and peer where nobody told"

_ENDED: Final = {
    Result.REPLY: "reply",
    Result.LOST_NETWORK: "lost",
    Result.LOST_FORWARD: "lost there",
    Result.LOST_RETURN: "lost back",
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


def judge(agent: AgentDocument, pair: ExplainedPairDocument) -> Diagnosis:
    """Return what the last probes of `pair` say, against what is usual."""
    usual = Usual(
        send_delay_us=_microseconds(agent["send_delay_ms"]["p50"]),
        rtt_us=_microseconds(pair["rtt_ms"]["p50"]),
        network_us=_microseconds(pair["network_rtt_ms"]["p50"]),
    )
    queueing = pair["queueing_ms"]
    queued = Queued(queueing["forward"] * 1e3, queueing["return"] * 1e3) if queueing else None
    return diagnosis([_times(probe) for probe in pair["probes"]], usual, queued)


def heading(agent: AgentDocument, pair: ExplainedPairDocument) -> str:
    """Say who looks at whom."""
    zone = f", zone {pair['to_zone']}" if pair["to_zone"] else ""
    device = f", by {pair['device']}" if pair["device"] else ""
    source = agent["source"] + (f" ({agent['source_reason']})" if agent["source_reason"] else "")
    return printable(f"{pair['from']} to {pair['to']}: {pair['address']}{zone}{device}, source {source}")


def waterfall(probes: Sequence[ProbeDocument]) -> Table:
    """Return a row a probe, oldest first, its bar as long as its time is beside the longest one's."""
    longest = max((sum(_lengths(probe).values()) for probe in probes), default=0.0)
    rows = tuple(_probe_row(probe, longest) for probe in probes)
    return Table(f"the last {len(probes)} probes, ms", _WATERFALL_COLUMNS, rows)


def spread(agent: AgentDocument, pair: ExplainedPairDocument) -> Table:
    """Return each part over the last probes, beside what is usual since the peer came."""
    probes = pair["probes"]
    unknown = (None, None)
    send_delay, rtt, network = agent["send_delay_ms"], pair["rtt_ms"], pair["network_rtt_ms"]
    user = [_sum(probe["send_delay_us"], probe["rtt_us"]) for probe in probes if probe["rtt_us"] is not None]
    rows = (
        ("send delay", [probe["send_delay_us"] for probe in probes], (send_delay["p50"], send_delay["p99"])),
        ("RTT", [probe["rtt_us"] for probe in probes], (rtt["p50"], rtt["p99"])),
        ("  network RTT", [probe["network_us"] for probe in probes], (network["p50"], network["p99"])),
        ("    forward", [probe["forward_us"] for probe in probes], unknown),
        ("    return", [probe["return_us"] for probe in probes], unknown),
        ("  dwell", [probe["dwell_us"] for probe in probes], unknown),
        ("send delay + RTT", user, unknown),
    )
    title = "the last probes beside what is usual since the peer came (send delay: to any peer)"
    return Table(title, _SPREAD_COLUMNS, tuple(_spread_row(*row) for row in rows))


def notes(pair: ExplainedPairDocument, route: str) -> list[str]:
    """Return the lines below the tables: losses, route, the peer's clock, and what the numbers are not.

    `route` is what is known of it, "" for nothing.
    """
    lines = [_losses(pair)]
    if route:
        lines.append(f"route: {route}" + (f"; handed to the driver of {pair['device']}" if pair["device"] else ""))
    lines += _clock(pair)
    lines.append(
        "A prober in user space would have said send delay + RTT, and the wake-up of its reader on top: "
        f"`monlat ping {pair['address']}` measures that."
    )
    return [printable(line) for line in lines]


def bar(lengths: Iterable[tuple[str, float]], longest: float, width: int = BAR_WIDTH) -> str:
    """Return a bar of letters, each as often as its length is long; `longest` is `width` letters wide."""
    if longest <= 0:
        return ""
    pieces = [(letter, max(length, 0.0)) for letter, length in lengths]
    ends = [round(width * end / longest) for end in accumulate(length for _, length in pieces)]
    starts = [0, *ends]
    return "".join(letter * (end - start) for (letter, _), start, end in zip(pieces, starts, ends, strict=False))


def _probe_row(probe: ProbeDocument, longest: float) -> tuple[Cell, ...]:
    result = Result(probe["result"])
    sent = datetime.fromtimestamp(probe["sent_unix"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    times = (probe[key] for key in ("send_delay_us", "forward_us", "dwell_us", "return_us", "rtt_us"))
    return (
        Cell(sent),
        Cell(str(probe["sequence"])),
        Cell(_ENDED[result], Tone.PLAIN if result is Result.REPLY else Tone.BAD),
        *(Cell(_signed(time)) for time in times),
        Cell(bar(_lengths(probe).items(), longest), Tone.BAR),
    )


def _lengths(probe: ProbeDocument) -> dict[str, float]:
    """Return what a bar shows, in the order of time."""
    lengths = {"s": probe["send_delay_us"] or 0.0}
    forward, dwell, back = probe["forward_us"], probe["dwell_us"], probe["return_us"]
    if forward is not None and dwell is not None and back is not None:
        # what the clock's error makes shorter than nothing is taken from the other direction
        network = forward + back
        forward = min(max(forward, 0.0), network)
        return {**lengths, "f": forward, "d": dwell, "r": network - forward}
    return {**lengths, "n": probe["rtt_us"] or 0.0}


def _spread_row(
    name: str, times_us: Sequence[float | None], usual_ms: tuple[float | None, float | None]
) -> tuple[Cell, ...]:
    known = [time for time in times_us if time is not None]
    middle, largest = (median(known), max(known)) if known else (None, None)
    return (Cell(name), Cell(_signed(middle)), Cell(_signed(largest)), *(Cell(milliseconds(time)) for time in usual_ms))


def _losses(pair: ExplainedPairDocument) -> str:
    if not pair["lost"]:
        return f"lost: none of {pair['replies']}"
    return f"lost: {pair['lost']} of {pair['replies'] + pair['lost']}, {loss(pair)}: {lost_at(pair)}"


def _clock(pair: ExplainedPairDocument) -> list[str]:
    offset, error = pair["clock_offset_ms"], pair["clock_offset_error_ms"]
    if offset is None or error is None:
        return ["dwell, network RTT and directions are not known: no agent at the peer tells of our probes"]
    side = "ahead of" if offset >= 0 else "behind"
    bound = milliseconds(error)
    return [
        f"clock of {pair['to']}: {milliseconds(abs(offset))} ms {side} ours, ± {bound} ms; "
        f"forward and return are split by it, so each is known to ± {bound} ms, their sum exactly"
    ]


def _times(probe: ProbeDocument) -> Times:
    return Times(Result(probe["result"]), probe["send_delay_us"], probe["rtt_us"], probe["dwell_us"])


def _signed(microseconds: float | None) -> str:
    """Write milliseconds; a direction can be under nothing, by the error of the clock offset."""
    if microseconds is not None and microseconds < 0:
        return "-" + milliseconds(-microseconds / 1e3)
    return milliseconds(None if microseconds is None else microseconds / 1e3)


def _microseconds(in_milliseconds: float | None) -> float | None:
    return None if in_milliseconds is None else in_milliseconds * 1e3


def _sum(first: float | None, second: float | None) -> float:
    return (first or 0.0) + (second or 0.0)
