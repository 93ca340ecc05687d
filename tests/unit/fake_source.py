"""A source without a kernel: it completes probes in the table as a test wants, byte by byte as bpf/core.h does."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from monlat_ebpf.abi.histogram import bucket_of
from monlat_ebpf.abi.probes import ProbeTable, TableSize
from monlat_ebpf.host.next_hops import NextHopState
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources import Destination, Packet, do_nothing

PROBE_BYTES = 96
TARGET_BYTES = 776
PROBES_PER_TARGET = 16
DEVICE = 1  # the loopback device in every namespace


@dataclass(frozen=True, slots=True)
class Sent:
    """One probe as its packet and its slot show it. Times in nanoseconds."""

    address: Address
    slot: int
    sequence: int
    nonce: int
    sent_ns: int
    deadline_ns: int
    identifier: int


Behaviour = Callable[[Sent], None]


class FakeSource:
    """Calls `behaviour` with each probe that is sent. The behaviour may raise OSError, as sending does."""

    name = "fake"
    sessions = None
    identifier = 4711

    def __init__(self, targets: int, behaviour: Behaviour | None = None) -> None:
        size = TableSize(targets)
        memories = {name: bytearray(length) for name, length in size.map_bytes().items()}
        self._probes, self._targets = memories["probes"], memories["targets"]
        self.table = ProbeTable(size, memories)
        self.sent: list[Sent] = []
        self.unmatched = 0
        self.behaviour: Behaviour = behaviour or self.answer

    def reserve(self, targets: int) -> None:
        self.reserved = targets

    def send(
        self,
        packet: bytes,
        to: Destination,
        start: Callable[[], int] = do_nothing,
        *,
        answering: bool = True,
        rehearse: bool = True,
    ) -> int:
        sent = start()
        address = to.address
        (identifier,) = struct.unpack_from("!H", packet, 4)
        slot, sequence, nonce = struct.unpack_from("<IIQ", packet, 16)
        armed_nonce, sent_ns, deadline_ns, armed_address = struct.unpack_from(
            "<QQQ16s", self._probes, slot * PROBE_BYTES
        )
        assert armed_nonce == nonce
        assert ip_address(armed_address) in (
            address,
            ip_address(f"::ffff:{address}") if address.version == 4 else address,
        )
        probe = Sent(address, slot, sequence, nonce, sent_ns, deadline_ns, identifier)
        self.sent.append(probe)
        self.behaviour(probe)
        return sent

    def send_batch(self, packets: Sequence[Packet], start: Callable[[int], int]) -> list[int | OSError]:
        results: list[int | OSError] = []
        for slot, message, to, answering in packets:
            try:
                results.append(self.send(message, to, partial(start, slot), answering=answering))
            except OSError as error:
                results.append(error)
        return results

    def next_hop_state(self, address: Address) -> NextHopState:
        return NextHopState.USABLE

    def use_sources(self, addresses: Sequence[Address]) -> frozenset[Family]:
        return frozenset()

    def errors(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass

    # behaviours, and their parts

    def answer(self, probe: Sent, rtt_ns: int = 50_000) -> None:
        self.transmit(probe)
        self.receive(probe, probe.sent_ns + 1_000 + rtt_ns)

    def answer_late(self, probe: Sent) -> None:
        self.transmit(probe)
        self.receive(probe, probe.deadline_ns + 1)

    def lose(self, probe: Sent) -> None:
        self.transmit(probe)

    def hold_back(self, probe: Sent) -> None:
        """Do nothing: the probe never reaches a driver."""

    def refuse(self, probe: Sent) -> None:
        self.transmit(probe)
        struct.pack_into(
            "<BB", self._probes, probe.slot * PROBE_BYTES + 60, *((3, 1) if probe.address.version == 4 else (1, 0))
        )

    def transmit(self, probe: Sent) -> None:
        """Stamp t1, one microsecond after t0."""
        if self._is_there(probe):
            struct.pack_into("<Q", self._probes, probe.slot * PROBE_BYTES + 40, probe.sent_ns + 1_000)
            struct.pack_into("<I", self._probes, probe.slot * PROBE_BYTES + 56, DEVICE)

    def receive(self, probe: Sent, at_ns: int) -> None:
        """Stamp t4, and add the RTT to the sums."""
        if self._is_there(probe):
            self.finish(probe, at_ns)
        else:
            self.unmatched += 1

    def finish(self, probe: Sent, at_ns: int) -> None:
        """Do what follows once the probe was found in its slot, as a processor does that was interrupted there."""
        at = probe.slot // PROBES_PER_TARGET * TARGET_BYTES
        transmitted_ns, received_ns = struct.unpack_from("<QQ", self._probes, probe.slot * PROBE_BYTES + 40)
        if received_ns:
            self._add(at + 16 + 4 * 186 + 8, 1)  # duplicates
            return
        if at_ns > probe.deadline_ns:
            self._add(at + 16 + 4 * 186, 1)  # late
        else:
            self._add(at, 1)
            self._add(at + 8, at_ns - transmitted_ns)
            self._add(at + 16 + 4 * bucket_of(at_ns - transmitted_ns), 1, "<I")
        struct.pack_into("<Q", self._probes, probe.slot * PROBE_BYTES + 48, at_ns)

    def _is_there(self, probe: Sent) -> bool:
        (nonce,) = struct.unpack_from("<Q", self._probes, probe.slot * PROBE_BYTES)
        return bool(nonce == probe.nonce)

    def _add(self, offset: int, amount: int, kind: str = "<Q") -> None:
        (value,) = struct.unpack_from(kind, self._targets, offset)
        struct.pack_into(kind, self._targets, offset, value + amount)
