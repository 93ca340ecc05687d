"""The result of bench/precision as a picture: SVG, written by hand; a panel a condition, a bar a tool."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bench import svg
from bench.precision_result import MONLAT, Result
from bench.truth import Errors

_WIDTH = 860
_LEFT, _RIGHT = 160, 90  # for names, and for the numbers after the bars
_TOP, _PANEL_HEAD, _ROW, _GAP = 84, 24, 20, 16


def picture(result: Result) -> str:
    """Return the SVG."""
    panels = [_panel_rows(result, condition) for condition in result.conditions]
    height = _TOP + sum(_PANEL_HEAD + _ROW * len(rows) + _GAP for rows in panels) + 52
    axis = _Axis([found for rows in panels for _, found in rows])
    parts = [
        *svg.begin(_WIDTH, height),
        svg.text(16, 28, "How far each tool's RTT is from the truth", size=17, weight="bold"),
        svg.text(
            16,
            48,
            "Bar: from the median error to the p99, which the number gives. Line: to the maximum. Logarithmic.",
        ),
    ]
    top = _TOP
    for condition, rows in zip(result.conditions, panels, strict=True):
        bottom = top + _PANEL_HEAD + _ROW * len(rows)
        parts += axis.grid(top + _PANEL_HEAD - 6, bottom)
        parts.append(svg.text(16, top + 12, condition, size=13, weight="bold"))
        for index, (name, found) in enumerate(rows):
            parts += axis.row(top + _PANEL_HEAD + _ROW * index, name, found)
        top = bottom + _GAP
    parts += axis.labels(_TOP - 14)
    versions = ", ".join(f"{each.name} {each.version}" for each in result.contenders)
    parts += [svg.text(16, height - 34, result.where, size=11, ink=svg.FAINT)]
    parts += [svg.text(16, height - 16, versions, size=11, ink=svg.FAINT)]
    return svg.end(parts)


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
            yield svg.line(self.x(10.0 ** (decade + 3)), top, self.x(10.0 ** (decade + 3)), bottom, svg.GRID, 1)

    def labels(self, y: float) -> Iterator[str]:
        for decade in range(self._first, self._last + 1):
            label = _amount(10.0 ** (decade + 3))
            yield svg.text(self.x(10.0 ** (decade + 3)), y, label, size=11, ink=svg.FAINT, anchor="middle")

    def row(self, top: float, name: str, found: Errors) -> Iterator[str]:
        median, p99, most = (self.x(ns) for ns in found.quantiles())
        ours = name == MONLAT
        colour, middle = (svg.OURS if ours else svg.THEIRS), top + _ROW / 2
        weight = "bold" if ours else "normal"
        yield svg.text(_LEFT - 10, middle + 4, name, anchor="end", weight=weight)
        yield svg.line(median, middle, most, middle, colour, 1.5)
        yield svg.line(most, middle - 4, most, middle + 4, colour, 1.5)
        yield (
            f"<rect x='{median - 1.5:.1f}' y='{top + 4}' width='{p99 - median + 3:.1f}' height='{_ROW - 8}' "
            f"rx='2' fill='{colour}'/>"
        )
        yield svg.text(most + 8, middle + 4, _amount(found.quantiles()[1]), size=11, weight=weight)


def _amount(nanoseconds: float) -> str:
    """Return two digits with the unit that suits, such as `14 µs` or `2.3 ms`."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size * 0.995:
            value = nanoseconds / size
            return f"{value:.1f} {unit}" if value < 9.95 and value != round(value) else f"{value:.0f} {unit}"
    return f"{nanoseconds / 1e3:.1f} µs"
