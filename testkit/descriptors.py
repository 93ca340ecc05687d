"""Open descriptors of this process, for tests that leave none behind."""

from __future__ import annotations

import gc
from pathlib import Path


def open_descriptors() -> frozenset[tuple[str, str]]:
    """Return the number and the target of each open descriptor.

    Objects that earlier tests left in reference cycles are collected first. Otherwise the collector would close their
    descriptors at a moment of its own, between two calls.
    """
    gc.collect()
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.add((descriptor.name, str(descriptor.readlink())))
        except FileNotFoundError:
            continue  # the descriptor that listed the directory
    return frozenset(found)
