"""Packets made by others: they are counted by reason, never recorded, and disturb no probe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from monlat_ebpf.abi import echo, layout
from monlat_ebpf.abi.probes import TableSize, mapped
from monlat_ebpf.model import Result
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace
from testkit import packets
from testkit.device import RawDevice
from testkit.reflector import ADDRESSES, Reflector
from tests.kernel.addresses import reflected_peers
from tests.kernel.measuring import Measurement

SIZE = TableSize(targets=3)
ARMED_SLOT, FREE_SLOT = 17, 18
NONCE = 0x1122334455667788
WHOLE_DAY_NS = 86_400 * 10**9
OURS = {4: "10.99.0.1", 6: "fd99::1"}
PEER = {4: "10.99.7.7", 6: "fd99::7:7"}
STRANGER = {4: "10.99.7.8", 6: "fd99::7:8"}


def reply(version: int, source: str, identifier: int, payload: bytes) -> bytes:
    return packets.echo_reply(source, OURS[version], identifier, 1, payload)


def with_flipped_last_byte(whole: bytes) -> bytes:
    return whole[:-1] + bytes([whole[-1] ^ 1])


def forged(version: int, ours: int) -> dict[str, bytes]:
    """Return one packet for each reason that a stranger could cause who knows `ours`, the agent's identifier.

    The kernel itself drops an IPv6 packet with a wrong checksum.
    """
    peer, right = PEER[version], echo.payload(ARMED_SLOT, 1, NONCE)
    quoted = packets.echo_request(OURS[version], peer, ours, 1, echo.payload(ARMED_SLOT, 1, NONCE + 1))
    quote = quoted[: len(quoted) - 56 + 12]  # it ends in the payload, after magic and version
    source, destination = packets.packed(STRANGER[version]), packets.packed(OURS[version])
    short_error = packets.icmp(source, destination, 3 if version == 4 else 1, 1, 0, quote)
    by_reason = {
        "slot_out_of_range": reply(version, peer, ours, echo.payload(SIZE.slots, 1, NONCE)),
        "no_probe": reply(version, peer, ours, echo.payload(FREE_SLOT, 1, NONCE)),
        "nonce_mismatch": reply(version, peer, ours, echo.payload(ARMED_SLOT, 1, NONCE ^ 1 << 63)),
        "wrong_address": reply(version, STRANGER[version], ours, right),
        "bad_checksum": with_flipped_last_byte(reply(version, peer, ours, right)),
        "malformed_payload": reply(version, peer, ours, right[:23]),
        "truncated_quote": packets.ip(source, destination, short_error),
    }
    return {reason: forgery for reason, forgery in by_reason.items() if (reason, version) != ("bad_checksum", 6)}


@pytest.fixture
def armed() -> Iterator[tuple[TracepointSource, RawDevice]]:
    """A loaded program, and the wire that strangers write to."""
    with Namespace("agent") as namespace, RawDevice(namespace, ADDRESSES) as device:
        with namespace.entered():
            source = TracepointSource(SIZE)
        try:
            yield source, device
        finally:
            source.close()


def arm(source: TracepointSource, version: int) -> None:
    now = time.monotonic_ns()
    address = mapped(ip_address(PEER[version]))
    source.table.arm(ARMED_SLOT, nonce=NONCE, sent_ns=now, deadline_ns=now + WHOLE_DAY_NS, address=address)


@pytest.mark.parametrize("version", [4, 6])
def test_forged_packets_are_counted_by_reason_and_not_recorded(
    armed: tuple[TracepointSource, RawDevice], version: int
) -> None:
    """2 of the first forgery, 3 of the next, and so on: each counts only under its own reason, none is recorded."""
    source, device = armed
    arm(source, version)
    expected = dict.fromkeys(layout.UNMATCHED_REASONS, 0)
    for extra, (reason, forgery) in enumerate(forged(version, source.identifier).items()):
        device.inject([forgery] * (2 + extra))
        expected[reason] = 2 + extra
    assert source.table.unmatched_packets() == expected
    assert sum(expected.values()) == {4: 35, 6: 27}[version]
    assert source.table.completion(ARMED_SLOT).received_ns == 0
    assert source.table.completion(ARMED_SLOT).error_type == 0
    assert all(source.table.histogram(target).count == 0 for target in range(SIZE.targets))
    assert all(source.table.late_and_duplicates(target) == (0, 0) for target in range(SIZE.targets))


@pytest.mark.parametrize("version", [4, 6])
def test_reply_to_a_probe_that_was_never_transmitted_has_no_rtt(
    armed: tuple[TracepointSource, RawDevice], version: int
) -> None:
    """Even the right nonce from the right address makes no sample if no driver ever had the request."""
    source, device = armed
    arm(source, version)
    device.inject([reply(version, PEER[version], source.identifier, echo.payload(ARMED_SLOT, 1, NONCE))])
    assert source.table.completion(ARMED_SLOT).received_ns > 0
    assert source.table.unmatched_packets()["not_transmitted"] == 1
    assert source.table.histogram(ARMED_SLOT // layout.PROBES_PER_TARGET).count == 0


@pytest.mark.parametrize("version", [4, 6])
def test_echoes_of_other_programs_are_not_counted(armed: tuple[TracepointSource, RawDevice], version: int) -> None:
    """A reply to a ping, another version of our payload, a request with our magic, and noise are ignored."""
    source, device = armed
    arm(source, version)
    of_ping = reply(version, PEER[version], source.identifier, bytes(range(56)))
    other_version = bytearray(echo.payload(ARMED_SLOT, 1, NONCE))
    other_version[layout.PAYLOAD.offset("version")] += 1
    request = packets.echo_request(PEER[version], OURS[version], 7, 1, echo.payload(ARMED_SLOT, 1, NONCE))
    noise = [bytes([version << 4 | 5]) + bytes([fill]) * length for fill in (0, 255) for length in range(19, 120)]
    device.inject([of_ping, reply(version, PEER[version], source.identifier, bytes(other_version)), request, *noise])
    assert not any(source.table.unmatched_packets().values())
    assert source.table.completion(ARMED_SLOT).received_ns == 0


def test_packets_of_another_namespace_are_ignored() -> None:
    """Forged packets that arrive in another namespace are not counted."""
    with Namespace("agent") as namespace, Namespace("other") as other, RawDevice(other, ADDRESSES) as device:
        with namespace.entered():
            source = TracepointSource(SIZE)
        try:
            arm(source, 4)
            device.inject(forged(4, source.identifier).values())
            assert not any(source.table.unmatched_packets().values())
        finally:
            source.close()


def test_flood_of_forged_packets_disturbs_no_probe() -> None:
    """While 100,003 forged packets arrive, 97 probes are answered, and every forged packet is counted."""
    flood_count = 100_003
    with (
        Namespace("agent") as namespace,
        Reflector(namespace) as reflector,
        Measurement(namespace, reflected_peers(97), interval_seconds=8.0, timeout_seconds=3.0) as measurement,
    ):
        out_of_range = echo.payload(measurement.source.table.size.slots, 1, NONCE)
        forgery = reply(4, PEER[4], measurement.source.identifier, out_of_range)
        assert reflector.inject([forgery] * flood_count) == flood_count
        measurement.wait()
        pairs = measurement.pairs()
    assert measurement.results() == {Result.REPLY: 97}
    assert measurement.unmatched() == {"slot_out_of_range": flood_count}
    assert sum(pair.rtt.count for pair in pairs) == 97
