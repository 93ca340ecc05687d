"""Peers that left the list a short time ago: pure.

While a pod is replaced, its node has no endpoint for some seconds. If the peer left at once, its counters and
histograms would begin at zero for each pod of each rollout, on every node. So an address stays for `keep_seconds`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from monlat_ebpf.model import Address, Peer


@dataclass(slots=True)
class _Known:
    """An address of a node, and since when it is not listed (seconds); None while it is."""

    address: Address
    zone: str
    left_at: float | None = None


class Departures:
    """Keeps each address for `keep_seconds` after its node left the list, or lost that family of addresses.

    Three things end it at once: the node has another address of that family, any other node has the address, and the
    time itself. `now` is in seconds of any steady clock.
    """

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._known: dict[tuple[str, int], _Known] = {}  # by node and IP version

    def update(self, listed: Iterable[Peer], now: float) -> tuple[Peer, ...]:
        """Return the peers in `listed`, and with them the addresses that left too recently. Sorted by name."""
        zones: dict[str, str] = {}
        owners: dict[Address, str] = {}
        known: dict[tuple[str, int], _Known] = {}
        for peer in listed:
            zones[peer.name] = peer.zone
            for address in peer.addresses:
                owners[address] = peer.name
                known[peer.name, address.version] = _Known(address, peer.zone)
        for key, entry in self._known.items():
            left_at = now if entry.left_at is None else entry.left_at
            if key not in known and entry.address not in owners and now - left_at < self._keep_seconds:
                known[key] = _Known(entry.address, entry.zone, left_at)
        self._known = known
        addresses: dict[str, list[Address]] = {name: [] for name in zones}
        for name, version in sorted(known):
            entry = known[name, version]
            addresses.setdefault(name, []).append(entry.address)
            zones.setdefault(name, entry.zone)
        return tuple(Peer(name, tuple(addresses[name]), zones[name]) for name in sorted(addresses))

    def valid_seconds(self, now: float) -> float | None:
        """Return how long the last result holds if the list does not change; None: for ever."""
        left = [entry.left_at for entry in self._known.values() if entry.left_at is not None]
        return max(0.0, min(left) + self._keep_seconds - now) if left else None
