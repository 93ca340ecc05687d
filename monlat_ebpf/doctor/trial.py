"""The end-to-end check: opens a source as the agent does, and probes this host and other addresses with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.doctor.facts import Measured, Trial
from monlat_ebpf.errors import SourceError
from monlat_ebpf.host.interfaces import device_name
from monlat_ebpf.model import Address, Peer
from monlat_ebpf.probing.ledger import Outcome
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.probing.reply_stamps import STAMPED_BY
from monlat_ebpf.probing.targets import Target
from monlat_ebpf.sources import Source

LOOPBACK: Final[Sequence[Address]] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_TIMEOUT_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.002
_INTERVAL_SECONDS: Final = 0.1
PROBES_BEYOND: Final = 5
"""To each address beyond this host: the first one may wait for ARP, and gateways limit their rate of replies."""


def run_trial(open_source: Callable[[TableSize], Source], beyond: Sequence[Address] = ()) -> Trial:
    """Open a source, send a probe to each loopback address and PROBES_BEYOND to each of `beyond`, and close it."""
    try:
        source = open_source(TableSize(max(len(LOOPBACK), len(beyond))))
    except SourceError as error:
        return Trial(error=str(error))
    try:
        return Trial(measured=_measure(source, LOOPBACK, 1), beyond=_measure(source, beyond, PROBES_BEYOND))
    finally:
        source.close()


def _measure(source: Source, addresses: Sequence[Address], count: int) -> tuple[Measured, ...]:
    """Return `count` probes of each address, in their order; 1.5 s at most."""
    outcomes: dict[Address, list[Outcome]] = {address: [] for address in addresses}

    def keep(target: Target, outcome: Outcome) -> None:
        outcomes[target.address].append(outcome)

    prober = Prober(
        source,
        interval_seconds=_INTERVAL_SECONDS,
        timeout_seconds=_TIMEOUT_SECONDS,
        max_peers=len(addresses),
        count=count,
        on_outcome=keep,
    )
    prober.set_peers([Peer(str(address), (address,)) for address in addresses])
    with ThreadPoolExecutor(1, "prober") as executor:
        running = executor.submit(prober.run)
        while not wait([running], _POLL_SECONDS).done:
            for target in prober.targets():
                for sequence in range(count):
                    prober.resolve(target, sequence)  # else the outcome comes at the deadline only
        running.result()
    return tuple(_measured(address, outcome) for address, several in outcomes.items() for outcome in several)


def _measured(address: Address, outcome: Outcome) -> Measured:
    return Measured(
        str(address),
        outcome.result,
        outcome.rtt_ns,
        outcome.error,
        device_name(outcome.reply_device),
        STAMPED_BY.get(outcome.stamped_by, ""),
    )
