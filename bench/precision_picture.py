"""The result of bench/precision as a picture: SVG, written by hand; a panel a condition, a bar a tool."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterator
from html import escape
from pathlib import Path

from bench.precision_result import MONLAT, Result
from bench.truth import Errors

RSVG_CONVERT = "rsvg-convert"
_WIDTH = 860
_LEFT, _RIGHT = 160, 90  # for names, and for the numbers after the bars
_TOP, _PANEL_HEAD, _ROW, _GAP = 84, 24, 20, 16
_FONT = "font-family='Helvetica, Arial, sans-serif'"
_OURS, _THEIRS, _INK, _FAINT, _GRID = "#0b7a53", "#8a94a6", "#1f2733", "#667085", "#e4e7ec"


def picture(result: Result) -> str:
    """Return the SVG."""
    panels = [_panel_rows(result, condition) for condition in result.conditions]
    height = _TOP + sum(_PANEL_HEAD + _ROW * len(rows) + _GAP for rows in panels) + 52
    axis = _Axis([found for rows in panels for _, found in rows])
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' "
        f"viewBox='0 0 {_WIDTH} {height}' {_FONT}>",
        f"<rect width='{_WIDTH}' height='{height}' fill='white'/>",
        _text(16, 28, "How far each tool's RTT is from the truth", size=17, weight="bold"),
        _text(
            16,
            48,
            "Bar: from the median error to the p99, which the number gives. Line: to the maximum. Logarithmic.",
        ),
    ]
    top = _TOP
    for condition, rows in zip(result.conditions, panels, strict=True):
        bottom = top + _PANEL_HEAD + _ROW * len(rows)
        parts += axis.grid(top + _PANEL_HEAD - 6, bottom)
        parts.append(_text(16, top + 12, condition, size=13, weight="bold"))
        for index, (name, found) in enumerate(rows):
            parts += axis.row(top + _PANEL_HEAD + _ROW * index, name, found)
        top = bottom + _GAP
    parts += axis.labels(_TOP - 14)
    versions = ", ".join(f"{each.name} {each.version}" for each in result.contenders)
    parts += [_text(16, height - 34, result.where, size=11, ink=_FAINT)]
    parts += [_text(16, height - 16, versions, size=11, ink=_FAINT), "</svg>", ""]
    return "\n".join(parts)


def _panel_rows(result: Result, condition: str) -> list[tuple[str, Errors]]:
    return [(contender.name, found) for contender, of, found in result.rows() if of == condition]


class _Axis:
    """Microseconds by their logarithm, in whole decades around all that is shown."""

    def __init__(self, shown: list[Errors]) -> None:
        shown_us = [max(ns / 1e3, 0.1) for found in shown for ns in found.quantiles()]
        self._first, self._last = math.floor(math.log10(min(shown_us))), math.ceil(math.log10(max(shown_us)))

    def x(self, nanoseconds: float) -> float:
        part = (math.log10(max(nanoseconds / 1e3, 0.1)) - self._first) / (self._last - self._first)
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    def grid(self, top: float, bottom: float) -> Iterator[str]:
        for decade in range(self._first, self._last + 1):
            yield _line(self.x(10.0 ** (decade + 3)), top, self.x(10.0 ** (decade + 3)), bottom, _GRID, 1)

    def labels(self, y: float) -> Iterator[str]:
        for decade in range(self._first, self._last + 1):
            label = _amount(10.0 ** (decade + 3))
            yield _text(self.x(10.0 ** (decade + 3)), y, label, size=11, ink=_FAINT, anchor="middle")

    def row(self, top: float, name: str, found: Errors) -> Iterator[str]:
        median, p99, most = (self.x(ns) for ns in found.quantiles())
        ours = name == MONLAT
        colour, middle = (_OURS if ours else _THEIRS), top + _ROW / 2
        weight = "bold" if ours else "normal"
        yield _text(_LEFT - 10, middle + 4, name, anchor="end", weight=weight)
        yield _line(median, middle, most, middle, colour, 1.5)
        yield _line(most, middle - 4, most, middle + 4, colour, 1.5)
        yield (
            f"<rect x='{median - 1.5:.1f}' y='{top + 4}' width='{p99 - median + 3:.1f}' height='{_ROW - 8}' "
            f"rx='2' fill='{colour}'/>"
        )
        yield _text(most + 8, middle + 4, _amount(found.quantiles()[1]), size=11, weight=weight)


def _amount(nanoseconds: float) -> str:
    """Return two digits with the unit that suits, such as `14 µs` or `2.3 ms`."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size * 0.995:
            value = nanoseconds / size
            return f"{value:.1f} {unit}" if value < 9.95 and value != round(value) else f"{value:.0f} {unit}"
    return f"{nanoseconds / 1e3:.1f} µs"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' stroke-width='{width:g}'/>"


def _text(
    x: float, y: float, text: str, *, size: int = 12, weight: str = "normal", ink: str = _INK, anchor: str = "start"
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' font-weight='{weight}' fill='{ink}' "
        f"text-anchor='{anchor}'>{escape(text)}</text>"
    )


def can_write_png() -> bool:
    return shutil.which(RSVG_CONVERT) is not None


def write_png(svg: str, file: Path) -> None:
    """Write the picture at twice its size, with librsvg's program."""
    subprocess.run((RSVG_CONVERT, "--zoom", "2", "--output", str(file)), input=svg.encode(), check=True)
