"""Where the time stamps of a probe come from: one protocol, a package or file for each way to get them.

Every source fills the same table (`monlat_ebpf.abi.probes`): whoever sends a probe writes it there first, the
source completes it with the instants t1 and t4, and nobody downstream needs to know which source it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from monlat_ebpf.abi.probes import ProbeTable
from monlat_ebpf.abi.sessions import Sessions
from monlat_ebpf.model import Address


class Source(Protocol):
    """Sends echo requests and stamps them and their answers."""

    name: str
    table: ProbeTable

    @property
    def sessions(self) -> Sessions | None:
        """What the peers' agents tell; None where the source does not see the peers' requests."""

    def reserve(self, targets: int) -> None:
        """Make the table usable for the targets below `targets`; others must not be touched."""

    def send(self, packet: bytes, address: Address) -> None:
        """Send `packet`, an ICMP message without IP header, to `address` without ever waiting.

        Raises OSError as the system call does.
        """

    def errors(self) -> Mapping[str, int]:
        """Return how often what went wrong, by reason."""

    def close(self) -> None:
        """Give everything back to the kernel."""
