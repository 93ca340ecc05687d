"""Opens a source as the agent does, and measures this host with it: the proof that no list of conditions is."""

from __future__ import annotations

import errno
import secrets
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from monlat_ebpf.abi import echo, layout
from monlat_ebpf.abi.echo import error_name
from monlat_ebpf.abi.probes import TableSize, mapped
from monlat_ebpf.doctor.facts import Measured, Trial
from monlat_ebpf.errors import SourceError
from monlat_ebpf.model import Address, Family, Result
from monlat_ebpf.probing.ledger import InFlight, Outcome, outcome_of
from monlat_ebpf.probing.prober import RESOLVE_DELAY_NS
from monlat_ebpf.sources import Source

LOOPBACK: Final[Sequence[Address]] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_TIMEOUT_NS: Final = 1_000_000_000
_LOOK_SECONDS: Final = 0.002


def run_trial(open_source: Callable[[TableSize], Source], addresses: Sequence[Address] = LOOPBACK) -> Trial:
    """Open a source, send one probe to each of `addresses`, close it again."""
    try:
        source = open_source(TableSize(len(addresses)))
    except SourceError as error:
        return Trial(error=str(error))
    try:
        return Trial(measured=tuple(_measure(source, target, address) for target, address in enumerate(addresses)))
    finally:
        source.close()


def _measure(source: Source, target: int, address: Address) -> Measured:
    family = Family.of(address)
    slot = target * layout.PROBES_PER_TARGET
    nonce = secrets.randbits(64) or 1
    request = echo.echo_request(family, secrets.randbelow(1 << 16), slot, 0, nonce)
    sent_ns = time.monotonic_ns()
    probe = InFlight(0, sent_ns, sent_ns + _TIMEOUT_NS)
    source.table.arm(slot, nonce=nonce, sent_ns=sent_ns, deadline_ns=probe.deadline_ns, address=mapped(address))
    try:
        source.send(request, address)
    except OSError as error:
        return Measured(str(address), Result.SEND_ERROR, error=errno.errorcode.get(error.errno or 0, str(error)))
    outcome = _wait(source, slot, probe)
    error_text = error_name(family, *outcome.error) if outcome.error else ""
    return Measured(str(address), outcome.result, outcome.rtt_ns, error_text)


def _wait(source: Source, slot: int, probe: InFlight) -> Outcome:
    while True:
        closed = time.monotonic_ns() >= probe.deadline_ns + RESOLVE_DELAY_NS
        outcome = outcome_of(probe, source.table.completion(slot), closed=closed)
        if outcome is not None:
            return outcome
        time.sleep(_LOOK_SECONDS)
