"""The samples of pairs, family by family, for a batch of pairs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.exposition import families
from monlat_ebpf.exposition.encoding import NEVER, Encoder, Template
from monlat_ebpf.exposition.families import MetricFamily
from monlat_ebpf.exposition.pair_histograms import histogram_of
from monlat_ebpf.model import Address, Family, HistogramKind, PairReading, PeerKind, Result

HISTOGRAMS: Final = {
    HistogramKind.RTT: families.RTT,
    HistogramKind.NETWORK: families.NETWORK_RTT,
    HistogramKind.DWELL: families.DWELL,
}

_RESULTS: Final = tuple(Result)
_LATE_AND_DUPLICATES: Final = layout.TARGET.part("late", "duplicates")

Samples = tuple[MetricFamily, bytes]
_Named = Sequence[tuple[PairReading, bytes]]
_Info = tuple[str, Address, str, PeerKind, bytes]
"""The labels of monlat_peer_info that follow `to`, as bytes, after what they were made from."""


@dataclass(slots=True)
class Kept:
    """What a scrape leaves to the next one: labels as bytes of the format, some 300 bytes a pair."""

    names: dict[str, bytes] = field(default_factory=dict)
    """By name of a peer."""
    infos: dict[Family, dict[str, _Info]] = field(default_factory=lambda: {family: {} for family in Family})
    """By family and name of a peer."""


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

    def samples(
        self, pairs: Sequence[PairReading], detailed: Sequence[bool], kinds: Sequence[HistogramKind]
    ) -> Iterator[Samples]:
        """Yield the samples of `pairs`, which follow those of the call before.

        `detailed` says for each whether it is shown in full, with histograms of these `kinds`.
        """
        named = [(pair, self._name(pair.to)) for pair in pairs]
        self.in_flight += sum([pair.in_flight for pair in pairs])
        self.peers += sum(1 for _ in self._first_of_peer(named, "peers"))
        in_full = list(compress(named, detailed))
        yield from self._latency(named)
        yield from self._histograms(in_full, kinds)
        yield from self._one_way(in_full)
        yield from self._counters(named)
        yield from self._infos(named)
        yield from self._devices(in_full)

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

    def _templates_of(self, family: MetricFamily, label: str = "", value: str = "") -> dict[Family, Template]:
        """Return the templates of a family of metrics by family of addresses."""
        return {each: self._template(family, each, label, value) for each in Family}

    def _first_of_peer(self, named: _Named, series: str) -> Iterator[tuple[PairReading, bytes]]:
        """Yield those that are the first of their peer for `series`: the pairs of a peer come in a row."""
        last = self._last.get(series)
        for each in named:
            if each[0].to != last:
                last = each[0].to
                yield each
        if last is not None:
            self._last[series] = last

    def _gauge(self, family: MetricFamily, template: Template, values: Sequence[tuple[bytes, float]]) -> Samples:
        return family, self._encoder.rows([(template, name, value, NEVER, b"") for name, value in values])

    def _counter(
        self, family: MetricFamily, templates: dict[Family, Template], named: _Named, counts: Sequence[int]
    ) -> Samples:
        rows = [
            (templates[pair.family], name, count, pair.created_unix_seconds, b"")
            for (pair, name), count in zip(named, counts, strict=True)
        ]
        return family, self._encoder.rows(rows)

    def _latency(self, named: _Named) -> Iterator[Samples]:
        answering = [each for each in named if each[0].last_rtt_ns is not None]
        values = [
            (name, self._encoder.milliseconds(pair.last_rtt_ns or 0))
            for pair, name in self._first_of_peer(answering, "latency")
        ]
        family = families.LATENCY_BETWEEN_NODES
        yield self._gauge(family, self._template(family), values)

    def _histograms(self, named: _Named, kinds: Sequence[HistogramKind]) -> Iterator[Samples]:
        if not named:
            return  # nothing has this family: not even its header is shown
        for kind in kinds:
            family = HISTOGRAMS[kind]
            templates = self._templates_of(family)
            rows = [
                (templates[pair.family], name, histogram, pair.created_unix_seconds)
                for pair, name in named
                if (histogram := histogram_of(pair, kind)) is not None
            ]
            yield family, self._encoder.histograms(rows)

    def _one_way(self, named: _Named) -> Iterator[Samples]:
        """Yield clock offset and queueing of each peer, from the first of its address families that has them."""
        known = [each for each in named if each[0].clock_offset is not None]
        offsets = [(name, pair.clock_offset) for pair, name in self._first_of_peer(known, "offset")]
        for family, attribute in ((families.CLOCK_OFFSET, "offset_ns"), (families.CLOCK_OFFSET_ERROR, "error_ns")):
            values = [(name, self._encoder.seconds(getattr(offset, attribute))) for name, offset in offsets]
            yield self._gauge(family, self._template(family), values)
        known = [each for each in named if each[0].queueing is not None]
        queues = [(name, pair.queueing) for pair, name in self._first_of_peer(known, "queueing")]
        family = families.QUEUEING
        for direction, attribute in (("forward", "forward_ns"), ("return", "return_ns")):
            values = [(name, self._encoder.seconds(getattr(queue, attribute))) for name, queue in queues]
            yield self._gauge(family, self._template(family, "", "direction", direction), values)

    def _counters(self, named: _Named) -> Iterator[Samples]:
        family = families.PROBES_SENT
        yield self._counter(family, self._templates_of(family), named, [pair.sent for pair, _ in named])
        family = families.PROBE_RESULTS
        for position, result in enumerate(_RESULTS):
            templates = self._templates_of(family, "result", result)
            yield self._counter(family, templates, named, [pair.results[position] for pair, _ in named])
        counts = [_LATE_AND_DUPLICATES.read(pair.counts) for pair, _ in named]
        family = families.LATE_REPLIES
        yield self._counter(family, self._templates_of(family), named, [count.late for count in counts])
        family = families.DUPLICATE_REPLIES
        yield self._counter(family, self._templates_of(family), named, [count.duplicates for count in counts])

    def _infos(self, named: _Named) -> Iterator[Samples]:
        family = families.PEER_INFO
        templates = self._templates_of(family)
        rows = [(templates[pair.family], name, 1, NEVER, self._info(pair)) for pair, name in named]
        yield family, self._encoder.rows(rows)

    def _info(self, pair: PairReading) -> bytes:
        made_from = (self._zone, pair.address, pair.to_zone, pair.kind)
        known = self._known.infos[pair.family].get(pair.to)
        if known is None or known[:-1] != made_from:
            labels = [("address", str(pair.address)), ("from_zone", self._zone), ("to_zone", pair.to_zone)]
            known = (*made_from, self._encoder.after([*labels, ("kind", pair.kind)]))
        self.kept.infos[pair.family][pair.to] = known
        return known[-1]

    def _devices(self, named: _Named) -> Iterator[Samples]:
        family = families.PEER_DEVICE_INFO
        rows = [
            (self._template(family, pair.family, "device", device), name, 1, NEVER, b"")
            for pair, name in named
            if (device := self._device_of(pair.device))
        ]
        yield family, self._encoder.rows(rows)
