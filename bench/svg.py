"""Pictures of benchmarks: SVG, written by hand. Colours, lines and texts that all of them share, and PNG from SVG."""

from __future__ import annotations

import shutil
import subprocess
from html import escape
from pathlib import Path

FONT = "font-family='Helvetica, Arial, sans-serif'"
OURS, THEIRS, INK, FAINT, GRID = "#0b7a53", "#8a94a6", "#1f2733", "#667085", "#e4e7ec"
RSVG_CONVERT = "rsvg-convert"


def begin(width: float, height: float) -> list[str]:
    """Return the first elements of a picture: its root, which `end` closes, and a white ground."""
    return [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' "
        f"viewBox='0 0 {width:g} {height:g}' {FONT}>",
        f"<rect width='{width:g}' height='{height:g}' fill='white'/>",
    ]


def end(parts: list[str]) -> str:
    """Return the whole picture."""
    return "\n".join([*parts, "</svg>", ""])


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' stroke-width='{width:g}'/>"


def text(
    x: float, y: float, text: str, *, size: int = 12, weight: str = "normal", ink: str = INK, anchor: str = "start"
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
