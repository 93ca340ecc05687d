"""The findings of a machine, for the line that scripts/test-kernels prints."""

from __future__ import annotations

from pathlib import Path

FINDINGS = Path("/run/findings")


def note(text: str) -> None:
    """Add to the line of this machine."""
    with FINDINGS.open("a", encoding="utf-8") as file:
        file.write(text + "\n")
