"""`monlat demo --serve`: the collector of the demo, what is broken in it after a while, and what the collector says."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, Final

import click

from monlat_ebpf.cli.cluster import ClusterDiagnosis, ask_diagnosis, ask_matrix, diagnosis_of, matrix_of
from monlat_ebpf.cli.demo_cluster import Demo
from monlat_ebpf.cli.demo_faults import Fault, breakage
from monlat_ebpf.cli.diagnose_text import diagnosis_lines
from monlat_ebpf.cli.matrix_text import layouts
from monlat_ebpf.cli.rendering import Cell, Layout, Lines, Tone
from monlat_ebpf.cli.screen import first_fitting, layout_as_rich, layout_as_text, terminal_width
from monlat_ebpf.diagnosis.past import LEARNED
from monlat_ebpf.exposition.client_access import ClientAccess

BREAKS_AFTER_WINDOWS: Final = LEARNED + 4
"""Then the collector has learned what is usual, and a window is left in which the page shows all well."""

_OPEN: Final = ClientAccess()
_MEASURE: Final = "rtt"


class Serving:
    """The demo as its collector sees it. A context manager; at its end, what was broken is whole again."""

    def __init__(self, demo: Demo, url: str, fault: Fault | None) -> None:
        self._demo = demo
        self._url = url
        self._fault = fault
        self._stack = ExitStack()
        self.broken = ""

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def turn(self) -> ClusterDiagnosis:
        """Ask for the diagnoses, and break what is to be broken when the collector can see it."""
        try:
            diagnosis = diagnosis_of(ask_diagnosis(self._url, _OPEN), self._url)
        finally:
            self._demo.check()  # says more than that nobody answers
        if self._fault is not None and not self.broken and diagnosis.window >= BREAKS_AFTER_WINDOWS:
            found = breakage(self._fault, self._demo)
            self._stack.enter_context(found.damage)
            self.broken = found.text
        return diagnosis

    def layouts(self, diagnosis: ClusterDiagnosis) -> tuple[Layout, ...]:
        """Return what a terminal shows: the address, what is broken, the diagnoses, and the matrix."""
        matrix = matrix_of(ask_matrix(self._url, _MEASURE, _OPEN), self._url)
        head = [Cell(f"The page: {self._url}/")]
        if self.broken:
            head.append(Cell(f"Broken:   {self.broken}"))
        elif self._fault is not None:
            head.append(Cell("The collector learns what is usual; then something breaks.", Tone.FAINT))
        said = (Lines(tuple(head)), diagnosis_lines(diagnosis))
        return tuple((*said, *layout) for layout in layouts(matrix, width=terminal_width()))

    def document(self) -> dict[str, Any]:
        """Return the document of --json: what was broken, and the collector's answers of now."""
        return {
            "url": self._url,
            "broken": self.broken,
            "diagnosis": ask_diagnosis(self._url, _OPEN).document,
            "matrix": ask_matrix(self._url, _MEASURE, _OPEN).document,
        }


def serve_live(serving: Serving, turns: Iterable[None]) -> None:
    """Show the cluster in the terminal, drawn anew in every turn."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, transient=True) as screen:
        for _ in turns:
            shown = serving.layouts(serving.turn())
            screen.update(layout_as_rich(first_fitting(shown, console)), refresh=True)


def serve_silently(serving: Serving, turns: Iterable[None]) -> None:
    """Write to standard error what happens: the address, what breaks, and the diagnoses when others are found."""
    said: tuple[str, ...] = ()
    broken = ""
    for _ in turns:
        diagnosis = serving.turn()
        if serving.broken != broken:
            broken = serving.broken
            click.echo(f"broken: {broken}", err=True)
        titles = tuple(each.title for each in diagnosis.diagnoses)
        if titles != said:
            said = titles
            click.echo(layout_as_text((diagnosis_lines(diagnosis),)), err=True, nl=False)


def serve(serving: Serving, url: str, turns: Iterable[None], *, live: bool) -> None:
    """Serve until the turns end."""
    if live:
        serve_live(serving, turns)
        return
    click.echo(f"the page: {url}/", err=True)
    serve_silently(serving, turns)
