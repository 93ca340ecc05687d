"""When agents are asked. Pure.

Time is cut into slots of one interval, and each agent has its own moment in every slot, so that not all answer at once.
An agent's slot n begins at its moment.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple


class Slots(NamedTuple):
    """The slots of all agents. Times are in seconds of the clock that only grows."""

    interval_seconds: float

    def moment(self, name: str) -> float:
        """Return the moment of the agent of node `name`: seconds after the begin of each slot, below the interval."""
        return zlib.crc32(name.encode()) / (1 << 32) * self.interval_seconds

    def slot(self, name: str, now: float) -> int:
        """Return in which slot an agent is asked that is asked now."""
        return int((now - self.moment(name)) // self.interval_seconds)

    def pause(self, name: str, now: float) -> float:
        """Return how long it is until the agent is asked next."""
        return self.interval_seconds - (now - self.moment(name)) % self.interval_seconds

    def all_asked(self, slot: int) -> float:
        """Return when every agent has been asked in `slot`."""
        return (slot + 1) * self.interval_seconds
