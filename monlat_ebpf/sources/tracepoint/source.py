"""The source that the kernel program feeds."""

from __future__ import annotations

import mmap
import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.peer_index import entries_for
from monlat_ebpf.abi.probes import ProbeTable, TableSize
from monlat_ebpf.abi.sessions import Sessions
from monlat_ebpf.errors import SourceError
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources.raw_sockets import RawSockets, receive_nothing
from monlat_ebpf.sources.tracepoint.loader import Loaded, load
from monlat_ebpf.sources.tracepoint.program import MAPS

_FIRST_TARGETS: Final = 64
"""Mapped from the start; twice as many whenever that is not enough."""

_TABLE_MAPS: Final = MAPS.index("exchanges")
"""How many of the maps are the table's; the rest are the sessions'."""


class TracepointSource:
    """Sends through raw sockets that receive nothing; the kernel program writes the table."""

    name = "tracepoint"

    def __init__(self, size: TableSize) -> None:
        """Load the program with room for `size`. Raises SourceError."""
        self._size = size
        self._sockets = RawSockets(receive_nothing)
        self._loaded: Loaded | None = None
        try:
            self._sockets.get(Family.IPV4)
            _lift_locked_memory_limit()
            self._loaded = load(size.slots)
            memories = self._map(self._loaded, _FIRST_TARGETS)
        except PermissionError as error:
            self.close()
            raise SourceError(f"no raw socket ({error}): the agent needs CAP_NET_RAW, or root") from error
        except BaseException:
            self.close()
            raise
        self.table = ProbeTable(size, *memories[:_TABLE_MAPS])
        self.sessions = Sessions(size, *memories[_TABLE_MAPS:])

    def reserve(self, targets: int) -> None:
        """Map the memory of the targets below `targets`."""
        if targets > self._mapped and self._loaded is not None:
            memories = self._map(self._loaded, max(targets, 2 * self._mapped))
            self.table.use(*memories[:_TABLE_MAPS])
            self.sessions.use(*memories[_TABLE_MAPS:])

    def _map(self, loaded: Loaded, targets: int) -> list[mmap.mmap]:
        """Return the maps' memory, of the first targets alone.

        The kernel maps a range at once and whole, and all of it counts as resident.
        """
        self._mapped = min(targets, self._size.targets)
        lengths = _lengths(TableSize(self._mapped), self._size)
        return [
            mmap.mmap(descriptor, _whole_pages(length)) for descriptor, length in zip(loaded.maps, lengths, strict=True)
        ]

    def send(self, packet: bytes, address: Address) -> None:
        """Send `packet` to `address`."""
        self._sockets.send(packet, address)

    def errors(self) -> Mapping[str, int]:
        """Return nothing: what goes wrong in the kernel is counted in the table."""
        return {}

    def close(self) -> None:
        """Detach the program and free its memory, save what is still mapped."""
        self._sockets.close()
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None


def _lengths(used: TableSize, whole: TableSize) -> tuple[int, ...]:
    """Return the bytes of each map, in the order of MAPS, of which the first `used` are wanted."""
    return (
        used.probe_bytes,
        used.target_bytes,
        used.unmatched_bytes,
        used.slots * layout.EXCHANGE.size,
        used.targets * layout.SESSION.size,
        entries_for(whole.targets) * layout.PEER_ENTRY.size,
        layout.SETTINGS.size,
        layout.REJECTED_FEEDBACK.size,
    )


def _whole_pages(length: int) -> int:
    page = os.sysconf("SC_PAGE_SIZE")
    return (length + page - 1) // page * page


def _lift_locked_memory_limit() -> None:
    """Lift the limit that kernels before 5.11 put on the memory of maps, where we may."""
    # without the right to: newer kernels count maps by cgroup and do not look at it; on older ones loading says so
    with suppress(ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
