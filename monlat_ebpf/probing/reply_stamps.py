"""Who stamped the replies, by device: a driver's hook, or the stack where no hook saw the packet."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.host.interfaces import device_name

_LOG = logging.getLogger(__name__)

STAMPED_BY: Final = {layout.CONSTANTS["STAMPED_BY_DRIVER"]: "driver", layout.CONSTANTS["STAMPED_BY_STACK"]: "stack"}
ENOUGH_REPLIES: Final = 20
"""Before so many replies of a device, a few packets without a driver's stamp are no rule."""


class ReplyStamps:
    """Counts replies by device and by who stamped them; warns once of a device where that is mostly the stack."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self.latest: list[tuple[int, int]] = []
        """Device's index and stamp of the last replies. `sum_up` counts them: for many at once that takes little."""
        self._by_index: Counter[tuple[int, int]] = Counter()  # of replies that are not in _counts yet
        self._warned: set[str] = set()

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return the number of replies by name of the device and "driver" or "stack"."""
        self.update()
        return dict(self._counts)

    def sum_up(self) -> None:
        """Count the new replies. Call it once a tick."""
        self._by_index.update(self.latest)
        self.latest.clear()

    def update(self) -> None:
        """Find the names of the devices of the last replies. Call it about once a second: a device may get another."""
        self.sum_up()
        for (device_index, stamped_by), replies in self._by_index.items():
            if by := STAMPED_BY.get(stamped_by):  # else the source does not say who stamped it
                device = device_name(device_index)
                self._counts[device, by] += replies
                self._warn(device)
        self._by_index.clear()

    def _warn(self, device: str) -> None:
        driver, stack = self._counts[device, "driver"], self._counts[device, "stack"]
        if driver + stack >= ENOUGH_REPLIES and stack > driver and device not in self._warned:
            self._warned.add(device)
            _LOG.warning(
                "%s: %d of %d replies have no time stamp of the driver: the RTT of such a reply ends where the stack "
                "delivers it, some microseconds later",
                device or "a device without a name",
                stack,
                driver + stack,
            )
