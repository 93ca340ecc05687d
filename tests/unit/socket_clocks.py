"""Clocks that a test sets: they imitate a machine whose wall clock can step."""

from __future__ import annotations

from dataclasses import dataclass

from monlat_ebpf.host.wall_clock import Reading

HOUR = 3_600_000_000_000
MILLISECOND = 1_000_000


@dataclass
class Machine:
    """A monotonic clock, and a wall clock `offset` ahead of it.

    Reading takes `bracket` ns, and the wall clock is read after `wall_after` ns; nothing else takes time.
    """

    now: int = 1_000_000_000_000
    offset: int = 1_700_000_000_000_000_000
    bracket: int = 100
    wall_after: int = 50

    def read(self) -> Reading:
        before, self.now = self.now, self.now + self.bracket
        return Reading(before, before + self.wall_after + self.offset, self.now)

    def stamp(self) -> int:
        """Return the stamp that the kernel would give a packet now."""
        return self.now + self.offset
