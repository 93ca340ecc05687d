"""What `monlat ping` writes for people: a line for each probe, and a table at the end. Pure."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, assert_never

from monlat_ebpf.cli.rendering import Cell, Column, Table, milliseconds, printable
from monlat_ebpf.config_text import duration_text
from monlat_ebpf.model import Result
from monlat_ebpf.ping.events import Duplicate, Ended, Event, Late
from monlat_ebpf.ping.report import Head, SummaryDocument, TimesDocument, seconds_of

_HEADS: Final = ("SEQUENCE", "KERNEL RTT", "SEND DELAY", "USER SPACE RTT")
_GUTTER: Final = "  "
_COLUMNS: Final[Sequence[Literal["min", "p50", "p99", "max"]]] = ("min", "p50", "p99", "max")
_LOST: Final = {
    Result.LOST_NETWORK: "in the network",
    Result.LOST_HOST: "on this host",
    Result.UNREACHABLE: "unreachable",
    Result.SEND_ERROR: "not sent",
}


class Line(NamedTuple):
    """A line of output, and whether it reports a problem."""

    text: str
    is_bad: bool = False


def heading(head: Head, interval_seconds: float) -> list[Line]:
    """Return the lines above that of the first probe."""
    name = f"{head.host} ({head.address})" if head.host != str(head.address) else head.host
    lines = [
        Line(
            printable(f"ping {name}, a probe each {duration_text(interval_seconds)}, source {head.source}; times in ms")
        )
    ]
    if head.source_reason:
        lines.append(Line(printable(f"not the tracepoint source: {head.source_reason}"), is_bad=True))
    return [*lines, Line(_GUTTER.join(_HEADS))]


def line(event: Event, timeout_seconds: float) -> Line:
    """Return the line for `event`."""
    if isinstance(event, Ended):
        return _ended(event, timeout_seconds)
    if isinstance(event, Late):
        rtt = f": kernel RTT {milliseconds(seconds_of(event.rtt_ns))} ms" if event.rtt_ns is not None else ""
        return _problem(event.sequence, f"late reply, after it was counted as lost{rtt}")
    if isinstance(event, Duplicate):
        return _problem(event.sequence, "duplicate reply")
    assert_never(event)


def closing(head: Head, sums: SummaryDocument) -> Table:
    """Return the table at the end."""
    columns = (Column("MS"), *(Column(name.upper(), right=True) for name in _COLUMNS))
    times: Sequence[tuple[str, TimesDocument]] = (
        ("kernel RTT", sums["rtt_seconds"]),
        ("send delay", sums["send_delay_seconds"]),
        ("user space RTT", sums["user_rtt_seconds"]),
    )
    rows = tuple((Cell(name), *(Cell(milliseconds(of[column])) for column in _COLUMNS)) for name, of in times)
    return Table(f"{printable(head.host)}: {_counts(sums)}", columns, rows)


def _counts(sums: SummaryDocument) -> str:
    ended = sums["replies"] + sums["lost"]
    loss = f"{100 * sums['lost'] / ended:.3g}% lost" if ended else "none has ended"
    parts = [f"{sums['sent']} sent", f"{sums['replies']} replies", loss]
    parts += [f"{sums['results'][result]} {name}" for result, name in _LOST.items() if sums["results"][result]]
    if sums["in_flight"]:
        parts.append(f"{sums['in_flight']} in flight")
    if sums["late"]:
        parts.append(f"{sums['late']} late")
    if sums["duplicates"]:
        parts.append(f"{sums['duplicates']} duplicates")
    return ", ".join(parts)


def _ended(probe: Ended, timeout_seconds: float) -> Line:
    if probe.result is Result.REPLY:
        cells = (
            str(probe.sequence),
            _time(probe.rtt_ns, "not seen"),
            _time(probe.send_delay_ns, "not seen"),
            _time(probe.user_rtt_ns, "no reply"),
        )
        aligned = (cell.rjust(len(head)) for cell, head in zip(cells, _HEADS, strict=True))
        return Line(_GUTTER.join(aligned), is_bad=None in (probe.rtt_ns, probe.user_rtt_ns))
    sender = f" from {probe.error_from}" if probe.error_from else ""
    error = f": {probe.error}{sender}" if probe.error else ""
    problems = {
        Result.LOST_NETWORK: f"lost in the network: no reply within {duration_text(timeout_seconds)}",
        Result.LOST_HOST: f"lost on this host: no driver had it in time{error}",
        Result.UNREACHABLE: f"unreachable{error}",
        Result.SEND_ERROR: f"not sent: {_errno_text(probe.error)}",
    }
    return _problem(probe.sequence, problems[probe.result])


def _errno_text(name: str) -> str:
    number = getattr(errno, name, None)
    return f"{os.strerror(number)} ({name})" if number else name


def _time(nanoseconds: int | None, otherwise: str) -> str:
    return otherwise if nanoseconds is None else milliseconds(seconds_of(nanoseconds))


def _problem(sequence: int, text: str) -> Line:
    return Line(f"{sequence:>{len(_HEADS[0])}}{_GUTTER}{text}", is_bad=True)
