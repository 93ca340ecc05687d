"""One scrape: a single pass over the pairs, in batches, that writes every family's samples of a batch.

Each pair is read once, so its counts fit together: probes sent are the sum of the results and of what is in flight.
What does not change is kept between scrapes, as bytes of the format: the name of a peer, and the labels of its address.
All else is made from the kernel program's memory, and forgotten after the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Final

from monlat_ebpf.exposition import families
from monlat_ebpf.exposition.agent_families import agent_samples, zone_samples
from monlat_ebpf.exposition.detail import Details
from monlat_ebpf.exposition.encoding import Encoder
from monlat_ebpf.exposition.families import MetricFamily
from monlat_ebpf.exposition.pair_families import Kept, PairFamilies
from monlat_ebpf.exposition.sections import Piece
from monlat_ebpf.host.interfaces import device_name
from monlat_ebpf.model import AgentSnapshot, PairReading

BATCH: Final = 64
"""Pairs whose samples are written at once: few calls for each, and little memory."""

_POSITIONS: Final = {family: position for position, family in enumerate(families.ALL)}
_END: Final = len(families.ALL)


class Exposition:
    """Renders scrapes in one format, and keeps what the pairs of the last one need again."""

    def __init__(
        self,
        new_encoder: Callable[[], Encoder],
        self_metrics: Callable[[], bytes] = bytes,
        details: Details | None = None,
        device_of: Callable[[int], str] = device_name,
    ) -> None:
        """`self_metrics` returns the end of the document: the agent's metrics about itself, in the same format.

        `details` says which pairs are shown in full; without it, all. `device_of` returns the name of the interface
        with that index, "" if there is none.
        """
        self._details = details or Details()
        self._device_of = device_of
        self._new_encoder = new_encoder
        self._self_metrics = self_metrics
        self._kept = Kept()

    def render(self, agent: AgentSnapshot, pairs: Iterable[PairReading]) -> Iterator[Piece]:
        """Yield the document in pieces of its families; read `pairs` once, a batch at a time.

        `pairs` has the pairs of a peer in a row.
        """
        encoder = self._new_encoder()
        scrape = PairFamilies(encoder, agent.node, agent.zone, self._kept, cache(self._device_of))
        details = self._details
        details.begin()
        lengths = dict.fromkeys(details.families, 0)

        def piece(family: MetricFamily, data: bytes) -> Piece:
            lengths[family] += len(data)
            return Piece(_POSITIONS[family], data)

        remaining = iter(pairs)
        while batch := list(islice(remaining, BATCH)):
            for family, data in scrape.samples(batch, details.of(batch), details.histograms):
                if data:
                    yield piece(family, data)
        self._kept = scrape.kept  # without those of peers that left
        details.end()
        for family, data in zone_samples(encoder, agent, details.zone_histograms()):
            yield piece(family, data)
        for family, data in agent_samples(encoder, agent, scrape.peers, scrape.in_flight):
            yield piece(family, data)
        for family, length in lengths.items():
            yield Piece(_POSITIONS[family], b"", encoder.header(family, length))
        yield Piece(_END, self._self_metrics())
