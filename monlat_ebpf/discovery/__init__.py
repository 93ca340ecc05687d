"""Which peers there are, from wherever that is written down.

A discovery runs in a thread of its own and calls `publish` with the whole list whenever it changes. It
never publishes a list that it knows to be wrong: the last good one stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from monlat_ebpf.model import Peer

Publish = Callable[[Sequence[Peer]], None]


class Discovery(Protocol):
    """Finds peers, and goes on finding them."""

    @property
    def own_zone(self) -> str:
        """This node's zone; "" while it is not known."""

    def start(self, publish: Publish) -> None:
        """Publish the first list, then follow changes in a thread of its own.

        Raises ConfigError when the configuration itself is unusable.
        """

    def stop(self) -> None:
        """End the thread and return when it has ended."""
