"""Kinds of devices that need modules of a distribution's kernel, against ping and the kernel's packet sockets.

pytest does not collect this file by its name: scripts/test-kernels runs it inside its virtual machines.
"""

from __future__ import annotations

from statistics import median

import pytest

from testkit.paths.table import ELSEWHERE
from tests.emulated.findings import note
from tests.kernel.path_rows import Measured, Row, measure

PROBES = 23
WRONG_NS = 10_000_000
"""An emulated processor is thirty times slower than a real one."""


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure(ELSEWHERE, PROBES, interval_seconds=0.5, timeout_seconds=4.0)


def _line(rows: list[Row]) -> str:
    cells = (
        {f"ping lost {row.ping_loss:.0%}" for row in rows},
        {result.value for row in rows for result in row.results},
        {f"{sum(row.duplicates for row in rows)} duplicates"},
        {f"by {stamp}" for row in rows for stamp in row.stamps},
        {f"{median(beside) / 1000:.0f} us beside packet sockets" for row in rows if (beside := row.beside_capture_ns)},
    )
    return ", ".join(" / ".join(sorted(cell)) for cell in cells if cell)


@pytest.mark.parametrize("name", [path.name for path in ELSEWHERE])
def test_path_is_as_ping_and_the_far_end_see_it(name: str, measured: Measured) -> None:
    """23 probes of each family: loss as ping's, by the right cause, RTT above the far end's own time; no duplicate."""
    assert measured.unbuilt.get(name) is None
    rows = [row for row in measured.rows if row.path.name == name]
    note(f"path {name}: {_line(rows)}")
    assert {len(row.outcomes) for row in rows} == {PROBES}
    assert [fault for row in rows for fault in row.faults(WRONG_NS)] == []


def test_nothing_is_unmatched(measured: Measured) -> None:
    assert measured.unmatched == {}
