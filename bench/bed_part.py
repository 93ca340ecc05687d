"""The part of every error in bench/precision that is the bed's own: from the kernel's stamps to the reflector's clock.

The way there is from the stamp of a request at the TUN device to the reflector's reading, the way back from its writing
to the stamp of the answer at the device. Two stamps are compared: of the hooks that monlat uses, and SO_TIMESTAMPING,
which the kernel takes without any program of ours. No tool can be nearer to the reflector's record than both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from bench.report import print_table, quantile
from bench.truth import UNREAD_NS
from monlat_ebpf.abi.probes import Stamps, TableSize
from monlat_ebpf.model import Peer
from monlat_ebpf.probing.ledger import Outcome
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.probing.targets import Target
from monlat_ebpf.sources import Source
from monlat_ebpf.sources.socket.source import SocketSource
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace
from testkit.plan import Plan
from testkit.reflector import Reflector

TIMEOUT_INTERVALS = 15
STAMPS: dict[str, Callable[[TableSize], Source]] = {"hooks": TracepointSource, "SO_TIMESTAMPING": SocketSource}


@dataclass
class Ways:
    """Nanoseconds to the reflector and back, a sample a request."""

    there: list[int] = field(default_factory=list)
    back: list[int] = field(default_factory=list)


def print_bed_part(target: IPv4Address, delay_ns: int, probes: int, interval_seconds: float, processor: int) -> None:
    """Measure both ways with each kind of stamp on an idle machine, and print them."""
    rows = []
    for name, open_source in STAMPS.items():
        ways = measured_ways(open_source, target, delay_ns, probes, interval_seconds, processor)
        quantiles = [quantile(samples, q) for samples in (ways.there, ways.back) if samples for q in (0.5, 0.99)]
        cells = [f"{ns / 1e3:.1f}" for ns in quantiles] or ["no reference"] * 4
        rows.append((name, str(len(ways.there)), *cells))
    print_table(("the bed's own part, in us", "probes", "there: median", "p99", "back: median", "p99"), rows)


def measured_ways(
    open_source: Callable[[TableSize], Source],
    target: IPv4Address,
    delay_ns: int,
    probes: int,
    interval_seconds: float,
    processor: int,
) -> Ways:
    """Probe a reflector, and compare the stamps of each probe with its record."""
    stamps: dict[int, Stamps] = {}
    with Namespace("bed") as namespace, Reflector(namespace, Plan(delay_ns=delay_ns), processor=processor) as reflector:
        with namespace.entered():
            source = open_source(TableSize(1))
        try:

            def keep(to: Target, outcome: Outcome) -> None:
                stamps[outcome.sequence] = source.table.stamps(to.slot(outcome.sequence))

            prober = Prober(
                source,
                interval_seconds=interval_seconds,
                timeout_seconds=TIMEOUT_INTERVALS * interval_seconds,
                max_peers=1,
                count=probes,
                on_outcome=keep,
            )
            prober.set_peers([Peer(str(target), (target,))])
            prober.run()
        finally:
            source.close()
        records = reflector.stop()
    ways = Ways()
    for record in records:
        found = stamps.get(record.sequence)
        if found and found.transmitted_ns and found.received_ns and record.written_ns and record.unread_ns <= UNREAD_NS:
            ways.there.append(record.read_ns - found.transmitted_ns)
            ways.back.append(found.received_ns - record.written_ns[0])
    return ways
