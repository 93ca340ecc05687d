"""From which addresses the probes leave: the peers know this node by its listed ones, and find its requests by them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources import Source

_LOG = logging.getLogger(__name__)


class OwnSources:
    """Keeps the source on this node's listed addresses, and counts the probes that leave from others.

    `unlisted` counts them by family. Without any listed address nothing is counted: the peers may know one.
    """

    def __init__(self, source: Source) -> None:
        self.are_all_used = True
        """Whether no probe needs to be counted."""
        self.unlisted: Counter[Family] = Counter()
        self._source = source
        self._listed: tuple[Address, ...] = ()
        self._used: frozenset[Family] = frozenset(Family)

    def use(self, listed: Sequence[Address]) -> None:
        """Send from the addresses `listed`, as far as they are this host's. Call it about once a second."""
        used = self._source.use_sources(listed) if listed or self._listed else frozenset(Family)
        for address in listed:
            family = Family.of(address)
            if family not in used and (family in self._used or address not in self._listed):
                _LOG.warning(
                    "%s probes do not leave from %s, by which the peers know this node: it is no address of this host, "
                    "or not usable yet, or --source-address names another",
                    family,
                    address,
                )
        self._listed, self._used = tuple(listed), used if listed else frozenset(Family)
        self.are_all_used = len(self._used) == len(Family)

    def count(self, family: Family) -> None:
        """Count a probe that was sent."""
        if family not in self._used:
            self.unlisted[family] += 1
