"""The end-to-end check: opens a source as the agent does, and probes this host's own addresses with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.doctor.facts import Measured, Trial
from monlat_ebpf.errors import SourceError
from monlat_ebpf.model import Address, Peer
from monlat_ebpf.probing.ledger import Outcome
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.probing.targets import Target
from monlat_ebpf.sources import Source

LOOPBACK: Final[Sequence[Address]] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_TIMEOUT_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.002


def run_trial(open_source: Callable[[TableSize], Source], addresses: Sequence[Address] = LOOPBACK) -> Trial:
    """Open a source, send one probe to each of `addresses`, and close it."""
    try:
        source = open_source(TableSize(len(addresses)))
    except SourceError as error:
        return Trial(error=str(error))
    try:
        return Trial(measured=_measure(source, addresses))
    finally:
        source.close()


def _measure(source: Source, addresses: Sequence[Address]) -> tuple[Measured, ...]:
    outcomes: dict[Address, Outcome] = {}

    def keep(target: Target, outcome: Outcome) -> None:
        outcomes[target.address] = outcome

    prober = Prober(
        source,
        interval_seconds=_TIMEOUT_SECONDS,
        timeout_seconds=_TIMEOUT_SECONDS,
        max_peers=len(addresses),
        count=1,
        on_outcome=keep,
    )
    prober.set_peers([Peer(str(address), (address,)) for address in addresses])
    with ThreadPoolExecutor(1, "prober") as executor:
        running = executor.submit(prober.run)
        while not wait([running], _POLL_SECONDS).done:
            for target in prober.targets():
                prober.resolve(target, 0)  # else the outcome comes at the deadline only
        running.result()
    return tuple(
        Measured(str(address), outcome.result, outcome.rtt_ns, outcome.error)
        for address, outcome in ((address, outcomes[address]) for address in addresses)
    )
