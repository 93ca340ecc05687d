"""The result of bench/scale as a picture: what each program takes of a core against its peers, both logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from bench import svg
from bench.scale_result import FPING, MONLAT, PACED, SMOKEPING, Load, Result, is_short

_WIDTH, _HEIGHT = 860, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 210, 84, 90  # for the labels of both axes, and for the names of the lines
_DASHES = {
    (FPING, False): "",
    (PACED, False): "7 4",
    (SMOKEPING, False): "2 4",
    (MONLAT, False): "",
    (MONLAT, True): "7 4",
}


class Point(NamedTuple):
    """`core` in per cent, and whether the program sent all probes that it should have."""

    peers: int
    core: float
    is_whole: bool


Line = tuple[str, bool, list[Point]]
"""A program, whether it had feedback, and its points."""


def picture(result: Result) -> str:
    """Return the SVG. It shows peers with one address each. Raises ValueError when there is none."""
    lines = list(_lines(result))
    if not lines:
        raise ValueError("there is nothing to draw: no program was measured with peers of one address")
    axes = _Axes(lines)
    parts = [
        *svg.begin(_WIDTH, _HEIGHT),
        svg.text(16, 28, "What it costs to probe every peer once a second", size=17, weight="bold"),
        svg.text(16, 48, "Share of a core against the number of peers, both logarithmic. A ring: not all was sent."),
        *axes.grid(),
    ]
    ends = _apart([axes.y(points[-1].core) for _, _, points in lines])
    for (program, has_feedback, points), at in zip(lines, ends, strict=True):
        parts += _drawn(axes, program, has_feedback, points, at)
    versions = ", ".join(f"{program} {version}" for program, version in result.versions.items() if program != PACED)
    parts.append(svg.text(16, _HEIGHT - 34, result.where, size=11, ink=svg.FAINT))
    parts.append(svg.text(16, _HEIGHT - 16, versions, size=11, ink=svg.FAINT))
    return svg.end(parts)


def _lines(result: Result) -> Iterator[Line]:
    for program, has_feedback in _DASHES:
        points = []
        for load in sorted(load for load in result.loads if not load.is_dual):
            measured = result.usual(Load(load.peers, has_feedback=has_feedback), program)
            if load.has_feedback == has_feedback and measured and measured.usage.core > 0:
                points.append(Point(load.peers, measured.usage.core, not is_short(load, measured.usage)))
        if points:
            yield program, has_feedback, points


class _Axes:
    """Both axes span whole decades around all that is shown."""

    def __init__(self, lines: Sequence[Line]) -> None:
        peers = [point.peers for _, _, points in lines for point in points]
        cores = [point.core for _, _, points in lines for point in points]
        self._peers = _decades(peers)
        self._cores = _decades(cores)
        self._counts = sorted(set(peers))

    def x(self, peers: float) -> float:
        return _LEFT + _part(peers, self._peers) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, core: float) -> float:
        return _HEIGHT - _BOTTOM - _part(core, self._cores) * (_HEIGHT - _TOP - _BOTTOM)

    def grid(self) -> Iterator[str]:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        for decade in range(self._cores[0], self._cores[1] + 1):
            y = self.y(10.0**decade)
            yield svg.line(_LEFT, y, right, y, svg.GRID, 1)
            yield svg.text(_LEFT - 8, y + 4, f"{10.0**decade:g} %", size=11, ink=svg.FAINT, anchor="end")
        for count in self._counts:
            x = self.x(count)
            yield svg.line(x, _TOP, x, bottom, svg.GRID, 1)
            yield svg.text(x, bottom + 16, f"{count:,}", size=11, ink=svg.FAINT, anchor="middle")
        yield svg.text((_LEFT + right) / 2, bottom + 34, "peers", size=11, ink=svg.FAINT, anchor="middle")


def _decades(values: Sequence[float]) -> tuple[int, int]:
    first = math.floor(math.log10(min(values)))
    return first, max(math.ceil(math.log10(max(values))), first + 1)


def _part(value: float, decades: tuple[int, int]) -> float:
    return (math.log10(value) - decades[0]) / (decades[1] - decades[0])


def _drawn(axes: _Axes, program: str, has_feedback: bool, points: Sequence[Point], name_at: float) -> Iterator[str]:
    ours = program == MONLAT
    colour, weight = (svg.OURS, "bold") if ours else (svg.THEIRS, "normal")
    at = [(axes.x(point.peers), axes.y(point.core)) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dashes = _DASHES[program, has_feedback]
    yield (
        f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='{2.5 if ours else 2:g}' "
        f"stroke-dasharray='{dashes or 'none'}'/>"
    )
    for (x, y), point in zip(at, points, strict=True):
        inside = colour if point.is_whole else "white"
        yield f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{inside}' stroke='{colour}' stroke-width='1.5'/>"
    name = f"{program}, with feedback" if has_feedback else program
    yield svg.text(at[-1][0] + 10, name_at + 4, f"{name}: {_per_cent(points[-1].core)}", weight=weight)


def _per_cent(core: float) -> str:
    return f"{core:.0f} %" if core >= 9.95 else f"{core:.2g} %"


def _apart(heights: Sequence[float], least: float = 16) -> list[float]:
    """Return `heights`, each moved down as far as needed for `least` between any two names."""
    moved = list(heights)
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    for upper, lower in pairwise(order):
        moved[lower] = max(moved[lower], moved[upper] + least)
    return moved
