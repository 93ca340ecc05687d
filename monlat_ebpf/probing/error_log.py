"""The log of probes that this host could not send: who and why, once for each address and error, at a bounded rate."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.probing.targets import Target

_LOG = logging.getLogger(__name__)

MOST_LINES: Final = 20
"""In PERIOD_NS: a thousand peers that fail at once must not fill the log."""

PERIOD_NS: Final = 60 * NANOSECONDS_PER_SECOND

_CAUSES: Final = {
    "ENOBUFS": "the buffer of the sending socket is full: packets wait in a queue of this host, or for the addresses "
    "of peers that do not answer ARP or NDP (net.core.wmem_max limits the buffer)",
    "EAGAIN": "the buffer of the sending socket is full: packets wait in a queue of this host",
    "arp_table_full": "the kernel's ARP table is full; raise net.ipv4.neigh.default.gc_thresh3",
    "ndp_table_full": "the kernel's NDP table is full; raise net.ipv6.neigh.default.gc_thresh3",
}


class ErrorLog:
    """Collects under the prober's lock, writes outside of it: a log may be slow, or wait for the lock itself."""

    def __init__(self) -> None:
        self._pending: deque[str] = deque()
        self._period_began_ns = 0
        self._lines = 0
        self._left_out = 0

    def add(self, target: Target, error: str, reason: str) -> None:
        """Note that a probe failed with `error`, an errno's name or another cause; `reason` describes an errno."""
        if error not in target.logged_errors:
            target.logged_errors |= {error}
            who, cause = f"{target.key.peer} ({target.address})", _CAUSES.get(error, reason)
            self._pending.append(f"{who} cannot be probed: {cause}; from now on only counted")

    def write(self, now_ns: int) -> None:
        """Log what was noted."""
        if not self._pending and not self._left_out:
            return
        if now_ns - self._period_began_ns >= PERIOD_NS:
            if self._left_out:
                _LOG.warning("%d more errors of sending were not logged, only counted", self._left_out)
            self._period_began_ns, self._lines, self._left_out = now_ns, 0, 0
        while self._pending:
            line = self._pending.popleft()
            if self._lines < MOST_LINES:
                self._lines += 1
                _LOG.warning("%s", line)
            else:
                self._left_out += 1
