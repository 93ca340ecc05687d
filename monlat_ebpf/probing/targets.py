"""Which targets are probed: what a list of peers changes, and where each target has its memory."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.probes import mapped
from monlat_ebpf.model import Address, Family, Peer, PeerKind
from monlat_ebpf.probing.feedback import FeedbackChannel, TargetHistory
from monlat_ebpf.probing.index_pool import IndexPool
from monlat_ebpf.probing.ledger import Ledger
from monlat_ebpf.sources import Destination, Source

_LOG = logging.getLogger(__name__)


class TargetKey(NamedTuple):
    """Names a target for as long as it exists: one family of one peer, whatever its address is today."""

    peer: str
    family: Family


@dataclass(frozen=True, slots=True)
class Wanted:
    """One target as discovery wants it. `order` counts the peer's addresses in their order of preference."""

    address: Address
    zone: str
    order: int
    kind: PeerKind = PeerKind.NODE


@dataclass(slots=True, eq=False)
class Target:
    """One address of one peer, while it is probed."""

    key: TargetKey
    index: int
    wanted: Wanted
    to: Destination
    mapped: bytes
    ledger: Ledger
    history: TargetHistory = field(default_factory=TargetHistory)
    created_unix_seconds: int = field(default_factory=lambda: int(time.time()))
    device: int = 0
    unresolved_ns: int = 0
    """When the kernel was last seen not to know the link address of the next hop; 0: never."""
    transmitted_ns: int = 0
    """When a driver last got a probe; not followed before `unresolved_ns` was set."""
    logged_errors: frozenset[str] = frozenset()
    is_removed: bool = False

    @property
    def address(self) -> Address:
        """The address that the next probe goes to."""
        return self.wanted.address

    @property
    def was_unresolved(self) -> bool:
        """Whether the next hop had no link address when that was last known: no driver has got a probe since."""
        return self.unresolved_ns > self.transmitted_ns

    def slot(self, sequence: int) -> int:
        """Return the slot of the probe of that sequence."""
        return self.index * layout.PROBES_PER_TARGET + sequence % self.ledger.positions


@dataclass(frozen=True, slots=True)
class Changes:
    """What must happen to the targets; `left_out` names the peers for which there is no room."""

    removed: tuple[TargetKey, ...]
    kept: Mapping[TargetKey, Wanted]
    added: Mapping[TargetKey, Wanted]
    left_out: tuple[str, ...]


def changes(current: Iterable[TargetKey], peers: Sequence[Peer], max_peers: int) -> Changes:
    """Return what leads from the targets `current` to those of `peers`. Pure.

    If there are more than `max_peers`, the peers that are measured already stay; new ones are taken in the order of
    their names.
    """
    known = set(current)
    known_peers = {key.peer for key in known}
    ranked = sorted(peers, key=lambda peer: (peer.name not in known_peers, peer.name))
    wanted = {
        TargetKey(peer.name, Family.of(address)): Wanted(address, peer.zone, order, peer.kind)
        for peer in ranked[:max_peers]
        for order, address in enumerate(peer.addresses)
    }
    return Changes(
        removed=tuple(sorted(known - wanted.keys())),
        kept={key: want for key, want in wanted.items() if key in known},
        added={key: want for key, want in wanted.items() if key not in known},
        left_out=tuple(peer.name for peer in ranked[max_peers:]),
    )


def phase(node: str, key: TargetKey) -> float:
    """Return when in the interval `node` probes `key`: 0 to 1, even over all pairs, the same every time. Pure.

    It depends on both names, so that the agents of a cluster spread their probes to one peer as well.
    """
    digest = hashlib.blake2b(f"{node}\0{key.peer}\0{key.family}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


class Targets:
    """The targets of today and their indexes in the table. The prober's lock guards it."""

    def __init__(self, source: Source, feedback: FeedbackChannel | None, max_peers: int, positions: int) -> None:
        self._source = source
        self._feedback = feedback
        self._max_peers = max_peers
        self._positions = positions
        self._targets: dict[TargetKey, Target] = {}
        self._sorted: list[Target] | None = None
        self._free = IndexPool(source.table.size.targets)
        self._left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of targets."""
        return len(self._targets)

    def sorted(self) -> Sequence[Target]:
        """Return all targets, sorted by peer and preference. Sorting thousands takes milliseconds, so it is kept."""
        if self._sorted is None:
            self._sorted = sorted(self._targets.values(), key=lambda target: (target.key.peer, target.wanted.order))
        return self._sorted

    def have_ended(self, count: int | None) -> bool:
        """Return whether each target got `count` probes and all of them have ended; False for None."""
        ledgers = (target.ledger for target in self._targets.values())
        return count is not None and all(ledger.sent == count and not ledger.in_flight for ledger in ledgers)

    def of_peer(self, peer: str) -> list[Target]:
        """Return the targets of `peer`."""
        return [target for target in self._targets.values() if target.key.peer == peer]

    def changes(self, peers: Sequence[Peer]) -> Changes:
        """Return what makes the targets those of `peers`. Only `apply` may change them until then."""
        return changes(self._targets, peers, self._max_peers)

    def apply(self, change: Changes) -> tuple[list[Target], list[Target]]:
        """Change the targets; return the removed and the added ones. The others keep their counts."""
        self._sorted = None
        removed = [self._remove(key) for key in change.removed]
        if removed:
            self._update_peer_index()  # before others get their indexes: the kernel program writes where the index says
        for key, wanted in change.kept.items():
            target = self._targets[key]
            if target.address != wanted.address:
                target.to, target.mapped = Destination(wanted.address), mapped(wanted.address)
            target.wanted = wanted
        added = [self._add(key, wanted) for key, wanted in change.added.items()]
        self._update_peer_index()
        if change.left_out and change.left_out != self._left_out:
            _LOG.warning(
                "%d peers are not probed, there is room for %d (--max-peers): %s",
                len(change.left_out),
                self._max_peers,
                ", ".join(change.left_out[:5]),
            )
        self._left_out = change.left_out
        return removed, added

    def _add(self, key: TargetKey, wanted: Wanted) -> Target:
        index = self._free.take(time.monotonic_ns())
        self._source.reserve(index + 1)
        self._clear(index)
        ledger = Ledger(self._positions)
        target = Target(key, index, wanted, Destination(wanted.address), mapped(wanted.address), ledger)
        self._targets[key] = target
        return target

    def _remove(self, key: TargetKey) -> Target:
        target = self._targets.pop(key)
        target.is_removed = True
        self._clear(target.index)
        self._free.give_back(target.index, time.monotonic_ns())
        return target

    def _clear(self, index: int) -> None:
        self._source.table.clear_target(index)
        if self._feedback is not None:
            self._feedback.sessions.clear(index)

    def _update_peer_index(self) -> None:
        if self._feedback is None:
            return
        unplaced = self._feedback.set_peer_index({each.mapped: each.index for each in self._targets.values()})
        if unplaced:
            _LOG.warning("%d addresses do not fit into the peer index: their dwell is not measured", unplaced)
