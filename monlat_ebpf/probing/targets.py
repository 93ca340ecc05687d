"""Which targets the agent should have, and when each is due: pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from monlat_ebpf.model import Address, Family, Peer


class TargetKey(NamedTuple):
    """Names a series: one family of one peer, whatever its address is today."""

    peer: str
    family: Family


@dataclass(frozen=True, slots=True)
class Wanted:
    """One target as discovery wants it. `order` is the family's place among the peer's addresses."""

    address: Address
    zone: str
    order: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What must happen to the targets; `refused` names the peers for which there is no room."""

    removed: tuple[TargetKey, ...]
    kept: Mapping[TargetKey, Wanted]
    added: Mapping[TargetKey, Wanted]
    refused: tuple[str, ...]


def changes(current: Iterable[TargetKey], peers: Sequence[Peer], max_peers: int) -> Changes:
    """Return what leads from the targets `current` to those of `peers`.

    Where there are more than `max_peers`, those that are measured already stay; new ones are taken in the
    order of their names.
    """
    known = set(current)
    known_peers = {key.peer for key in known}
    ranked = sorted(peers, key=lambda peer: (peer.name not in known_peers, peer.name))
    wanted = {
        TargetKey(peer.name, Family.of(address)): Wanted(address, peer.zone, order)
        for peer in ranked[:max_peers]
        for order, address in enumerate(peer.addresses)
    }
    return Changes(
        removed=tuple(sorted(known - wanted.keys())),
        kept={key: want for key, want in wanted.items() if key in known},
        added={key: want for key, want in wanted.items() if key not in known},
        refused=tuple(peer.name for peer in ranked[max_peers:]),
    )


def phase(node: str, key: TargetKey) -> float:
    """Return where in the interval `node` probes `key`: 0 to 1, even over all pairs, the same every time.

    Both names enter, so that the agents of a cluster spread their probes to one peer as well.
    """
    digest = hashlib.blake2b(f"{node}\0{key.peer}\0{key.family}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
