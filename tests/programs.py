"""Programs that the tests start."""

from __future__ import annotations

from pathlib import Path
from shutil import which
from sys import executable


def tool(name: str) -> str:
    """Return the path of a program that `scripts/setup --dev` puts beside Python, or else of one on PATH."""
    found = which(name, path=str(Path(executable).parent)) or which(name)
    assert found is not None, f"no {name}: run scripts/setup --dev"
    return found
