"""The samples of pairs, family by family, for a batch of pairs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND, filled
from monlat_ebpf.exposition import families
from monlat_ebpf.exposition.encoding import NEVER, Encoder, Template
from monlat_ebpf.exposition.families import MetricFamily
from monlat_ebpf.model import Address, Family, PairReading, PeerKind, Result

_RESULTS: Final = tuple(Result)
_RTT_AT: Final = layout.TARGET.offset("rtt")
_NETWORK_RTT_AT: Final = layout.SESSION.offset("network_rtt")
_DWELL_AT: Final = layout.SESSION.offset("dwell")
_LATE_AND_DUPLICATES: Final = layout.TARGET.part("late", "duplicates")
_NANOSECONDS_PER_MILLISECOND: Final = 1e6

Samples = tuple[MetricFamily, bytes]
_Named = Sequence[tuple[PairReading, bytes]]


@dataclass(slots=True)
class Kept:
    """What a scrape leaves to the next one: labels as bytes of the format."""

    names: dict[str, bytes] = field(default_factory=dict)
    """By name of a peer."""
    infos: dict[tuple[str, Family], tuple[Address, str, PeerKind, bytes]] = field(default_factory=dict)
    """By pair: the labels of monlat_peer_info that follow `to`, with what they were made from."""


class PairFamilies:
    """Writes the pairs of one scrape; `kept` takes over what is still needed from the `kept` of the last one."""

    def __init__(self, encoder: Encoder, node: str, zone: str, kept: Kept, device_of: Callable[[int], str]) -> None:
        self.kept: Final = Kept()
        self.peers = 0
        self.in_flight = 0
        self._encoder = encoder
        self._node = node
        self._zone = zone
        self._known = kept
        self._device_of = device_of
        self._templates: dict[tuple[MetricFamily, str, str], Template] = {}
        self._last: dict[str, str] = {}  # the last peer that a series has been written for, by series

    def samples(self, pairs: Sequence[PairReading]) -> Iterator[Samples]:
        """Yield the samples of `pairs`, which follow those of the call before."""
        named = [(pair, self._name(pair.to)) for pair in pairs]
        self.in_flight += sum([pair.in_flight for pair in pairs])
        self.peers += sum(1 for _ in self._first_of_peer(named, "peers"))
        yield from self._gauges(named)
        yield from self._histograms(named)
        yield from self._counters(named)
        yield from self._infos(named)

    def _name(self, peer: str) -> bytes:
        names = self.kept.names
        if (name := names.get(peer)) is None:
            name = names[peer] = self._known.names.get(peer) or self._encoder.name(peer)
        return name

    def _template(self, family: MetricFamily, address_family: str = "", label: str = "", value: str = "") -> Template:
        key = (family, address_family, value)
        if (template := self._templates.get(key)) is None:
            labels = [("from", self._node)]
            labels += [("family", address_family)] if address_family else []
            labels += [(label, value)] if label else []
            template = self._templates[key] = self._encoder.template(family, labels)
        return template

    def _of_families(self, family: MetricFamily) -> dict[Family, Template]:
        """Return the templates of a family of metrics by family of addresses."""
        return {each: self._template(family, each) for each in Family}

    def _first_of_peer(self, named: _Named, series: str) -> Iterator[tuple[PairReading, bytes]]:
        """Yield those that are the first of their peer for `series`: the pairs of a peer come in a row."""
        last = self._last.get(series)
        for each in named:
            if each[0].to != last:
                last = each[0].to
                yield each
        if last is not None:
            self._last[series] = last

    def _gauges(self, named: _Named) -> Iterator[Samples]:
        rows = self._encoder.rows
        family = families.LATENCY_BETWEEN_NODES
        template = self._template(family)
        answering = [each for each in named if each[0].last_rtt_ns is not None]
        yield (
            family,
            rows(
                [
                    (template, name, (pair.last_rtt_ns or 0) / _NANOSECONDS_PER_MILLISECOND, NEVER, b"")
                    for pair, name in self._first_of_peer(answering, "latency")
                ]
            ),
        )
        offsets = [
            (name, pair.clock_offset)
            for pair, name in self._first_of_peer([each for each in named if each[0].clock_offset], "offset")
        ]
        for family, attribute in ((families.CLOCK_OFFSET, "offset_ns"), (families.CLOCK_OFFSET_ERROR, "error_ns")):
            template = self._template(family)
            yield (
                family,
                rows(
                    [
                        (template, name, getattr(offset, attribute) / NANOSECONDS_PER_SECOND, NEVER, b"")
                        for name, offset in offsets
                    ]
                ),
            )
        queues = [
            (name, pair.queueing)
            for pair, name in self._first_of_peer([each for each in named if each[0].queueing], "queueing")
        ]
        family = families.QUEUEING
        for direction in ("forward", "return"):
            template = self._template(family, "", "direction", direction)
            yield (
                family,
                rows(
                    [
                        (template, name, getattr(queue, f"{direction}_ns") / NANOSECONDS_PER_SECOND, NEVER, b"")
                        for name, queue in queues
                    ]
                ),
            )

    def _histograms(self, named: _Named) -> Iterator[Samples]:
        histograms = self._encoder.histograms
        templates = self._of_families(families.RTT)
        yield (
            families.RTT,
            histograms(
                [
                    (templates[pair.family], name, filled(pair.counts, _RTT_AT), pair.created_unix_ns)
                    for pair, name in named
                ]
            ),
        )
        for family, at in ((families.NETWORK_RTT, _NETWORK_RTT_AT), (families.DWELL, _DWELL_AT)):
            templates = self._of_families(family)
            yield (
                family,
                histograms(
                    [
                        (templates[pair.family], name, filled(pair.session, at), pair.created_unix_ns)
                        for pair, name in named
                        if pair.session is not None
                    ]
                ),
            )

    def _counters(self, named: _Named) -> Iterator[Samples]:
        rows = self._encoder.rows
        templates = self._of_families(families.PROBES_SENT)
        yield (
            families.PROBES_SENT,
            rows([(templates[pair.family], name, pair.sent, pair.created_unix_ns, b"") for pair, name in named]),
        )
        family = families.PROBE_RESULTS
        for position, result in enumerate(_RESULTS):
            templates = {each: self._template(family, each, "result", result) for each in Family}
            yield (
                family,
                rows(
                    [
                        (templates[pair.family], name, pair.results[position], pair.created_unix_ns, b"")
                        for pair, name in named
                    ]
                ),
            )
        counts = [_LATE_AND_DUPLICATES.read(pair.counts) for pair, _ in named]
        for position, family in enumerate((families.LATE_REPLIES, families.DUPLICATE_REPLIES)):
            templates = self._of_families(family)
            yield (
                family,
                rows(
                    [
                        (templates[pair.family], name, count[position], pair.created_unix_ns, b"")
                        for (pair, name), count in zip(named, counts, strict=True)
                    ]
                ),
            )

    def _infos(self, named: _Named) -> Iterator[Samples]:
        templates = self._of_families(families.PEER_INFO)
        yield (
            families.PEER_INFO,
            self._encoder.rows([(templates[pair.family], name, 1, NEVER, self._info(pair)) for pair, name in named]),
        )
        yield (
            families.PEER_DEVICE_INFO,
            self._encoder.rows(
                [
                    (self._template(families.PEER_DEVICE_INFO, pair.family, "device", device), name, 1, NEVER, b"")
                    for pair, name in named
                    if (device := self._device_of(pair.device))
                ]
            ),
        )

    def _info(self, pair: PairReading) -> bytes:
        key = (pair.to, pair.family)
        made_from = (pair.address, pair.to_zone, pair.kind)
        known = self._known.infos.get(key)
        if known is None or known[:3] != made_from:
            labels = [("address", str(pair.address)), ("from_zone", self._zone), ("to_zone", pair.to_zone)]
            known = (*made_from, self._encoder.after([*labels, ("kind", pair.kind)]))
        self.kept.infos[key] = known
        return known[3]
