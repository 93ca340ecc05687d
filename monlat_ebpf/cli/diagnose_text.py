"""The text of `monlat diagnose`, and what its exit status says. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from monlat_ebpf.cli.cluster import ClusterDiagnosis, OpenDiagnosis
from monlat_ebpf.cli.rendering import Cell, Lines, Tone, printable
from monlat_ebpf.diagnosis.hysteresis import State
from monlat_ebpf.diagnosis.text import NOTHING

FEWEST_ANSWERING: Final = 0.5
"""If fewer of the agents answer, that nothing is found says nothing."""

OLDEST_WINDOWS: Final = 4
"""A last window older than so many windows is not the present. One may be late; so may the clock's whole seconds."""


class Status(IntEnum):
    """The exit status."""

    NOTHING_BROKEN = 0
    BROKEN = 1
    CANNOT_TELL = 2


def status_of(diagnosis: ClusterDiagnosis) -> Status:
    """Return the exit status: what is found counts, however few agents answer, if the window is recent."""
    if diagnosis.diagnoses and not _why_no_window(diagnosis):
        return Status.BROKEN
    return Status.CANNOT_TELL if why_unknown(diagnosis) else Status.NOTHING_BROKEN


def why_unknown(diagnosis: ClusterDiagnosis) -> str:
    """Return why a diagnosis that is missing says nothing; "" if it says that nothing is broken."""
    answering, agents = diagnosis.agents_answering, diagnosis.agents
    if reason := _why_no_window(diagnosis):
        return reason
    if not agents:
        return "the collector's list of agents is empty"
    return f"only {answering} of {agents} agents answer" if answering < FEWEST_ANSWERING * agents else ""


def _why_no_window(diagnosis: ClusterDiagnosis) -> str:
    age, length = diagnosis.age_seconds, diagnosis.window_seconds
    if age is None:
        return "no window has closed since the collector's start"
    return (
        f"the last window closed {age:.0f} s ago, and one takes {length:g} s" if age > OLDEST_WINDOWS * length else ""
    )


def diagnosis_lines(diagnosis: ClusterDiagnosis) -> Lines:
    """Return each diagnosis with its candidates and its evidence, then what it is based on."""
    lines = [line for each in diagnosis.diagnoses for line in _lines_of(each)]
    unknown = why_unknown(diagnosis)
    if unknown:
        begin = "It may have changed" if lines else "It cannot be told"
        lines.append(Cell(f"{begin}: {unknown}.", Tone.WARNING))
    elif not lines:
        lines.append(Cell(NOTHING))
    return Lines((*lines, Cell(_basis(diagnosis), Tone.FAINT)))


def _lines_of(diagnosis: OpenDiagnosis) -> list[Cell]:
    closing = ", not seen in the last window" if diagnosis.state == State.CLOSING else ""
    since = diagnosis.since_unix_seconds
    began = "" if since is None else f", since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC"
    sure = f", confidence {diagnosis.confidence_ratio:.1%}" if diagnosis.confidence_ratio else ""
    return [
        Cell(printable(f"{diagnosis.title}{sure}{began}{closing}"), Tone.BAD),
        *(Cell(printable(f"  may be {candidate}")) for candidate in diagnosis.candidates),
        *(Cell(printable(f"  {text}")) for text in diagnosis.evidence),
    ]


def _basis(diagnosis: ClusterDiagnosis) -> str:
    agents = f"{diagnosis.agents_answering} of {diagnosis.agents} agents answer"
    age = diagnosis.age_seconds
    if age is None:
        return f"{agents}; windows of {diagnosis.window_seconds:g} s"
    return f"{agents}; the last window of {diagnosis.window_seconds:g} s closed {age:.0f} s ago"
