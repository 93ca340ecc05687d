"""What may stand in the labels `from`, `to` and zone: pure."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 253
"""Bytes of UTF-8: the longest name that Kubernetes gives a node (an RFC 1123 subdomain)."""


def why_unfit(name: str) -> str | None:
    """Return why `name` cannot be a node's or a zone's name, as the end of a sentence, or None when it can."""
    if not name:
        return "is empty"
    for character in name:
        if not character.isprintable():
            return f"holds U+{ord(character):04X}, which does not print"
    if name != name.strip():
        return "begins or ends with a space"
    size = len(name.encode())
    if size > LONGEST:
        return f"is {size} bytes long, and a label holds {LONGEST} at most"
    return None
