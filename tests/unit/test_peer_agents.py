"""The testkit's agents of many peers: their requests, byte for byte, and what they notice of the agent's probes."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from testkit import packets
from testkit.peer_agents import PeerAgent, PeerAgents

PAYLOAD = struct.Struct("<IBBHIIQ QQIHH Q")  # struct payload of bpf/monlat.h: 56 bytes, its feedback in the middle
MAGIC = int.from_bytes(b"mnlt", "little")
AGENT = {4: "10.77.0.1", 6: "fd77::1"}
PEER = {4: "10.64.0.7", 6: "fd64::7"}
STREAM, NONCE = 0x1122334455667788, 0xABCDEF0123456785
WALL_NS = 1_700_000_000_123_456_789


def probe(
    version: int, sequence: int, *, nonce: int = NONCE, names: int = 0, stream: int = STREAM, wire_version: int = 1
) -> bytes:
    """Return a probe of the agent as a whole packet."""
    payload = PAYLOAD.pack(MAGIC, wire_version, 0, 0, 112, sequence, nonce, names, 0, 0, 0, 0, stream)
    return packets.echo_request(AGENT[version], PEER[version], 9, sequence & 0xFFFF, payload)


def payload_of(packet: bytes) -> tuple[int, ...]:
    request = packets.parse_echo_request(packet)
    assert request is not None
    return PAYLOAD.unpack(request.payload)


def met(agents: PeerAgents, packet: bytes) -> PeerAgent:
    peer = agents.receive(packet, 5, WALL_NS)
    assert peer is not None
    return peer


@pytest.mark.parametrize("version", [4, 6])
def test_request_reports_the_probe_from_the_address_that_was_probed(version: int) -> None:
    """Nonce, t2 and 1 us of dwell of the only probe; the request's own position is 0; both checksums are right."""
    peer = met(PeerAgents(), probe(version, 40))
    packet = peer.request()
    source, destination = (ip_address(each).packed for each in (PEER[version], AGENT[version]))
    request = packets.parse_echo_request(packet)
    assert request is not None
    assert (request.version, request.source, request.destination) == (version, source, destination)
    magic, wire_version, known, _, _, sequence, nonce, named, received, dwell, before, after, stream = payload_of(
        packet
    )
    assert (magic, wire_version, known, sequence) == (MAGIC, 1, 0, 0)
    assert (named, received, dwell, before, after) == (NONCE, WALL_NS, 1_000, 0, 0)
    assert nonce % 16 == 0
    assert nonce > 15
    assert stream != 0
    if version == 4:
        assert packets.checksum(packet[:20]) == packets.checksum(packet[20:]) == 0
    else:
        pseudo = source + destination + struct.pack("!II", len(packet) - 40, 58)
        assert packets.checksum(pseudo + packet[40:]) == 0


def test_requests_of_a_peer_have_a_stream_and_consecutive_positions() -> None:
    """The 18th request has sequence 17 and position 1 again; only the last 16 nonces are remembered."""
    peer = met(PeerAgents(), probe(4, 0))
    sent = [payload_of(peer.request()) for _ in range(18)]
    assert [fields[5] for fields in sent] == list(range(18))
    assert [fields[6] % 16 for fields in sent] == [*range(16), 0, 1]
    assert len({fields[12] for fields in sent}) == 1
    assert [peer.has_sent(fields[6]) for fields in sent] == [False, False, *[True] * 16]
    assert not peer.has_sent(0)


@pytest.mark.parametrize(
    ("sequences", "known", "before", "newest"),
    [
        ([3, 4, 5, 6], 3, 0b111, 6),
        ([3, 5, 6], 3, 0b101, 6),
        ([3, 6, 4], 3, 0b110, 6),
        ([3, 4, 4], 1, 0b1, 4),
        ([0xFFFFFFFE, 0xFFFFFFFF, 0, 1], 3, 0b111, 1),
        ([*range(20)], 16, 0xFFFF, 19),
        ([3, 4, 30], 16, 0, 30),
        ([3, 4, 30, 4], 16, 0, 30),
    ],
    ids=["all", "4 lost", "overtaken", "twice", "wraps around", "more than 16", "long silence", "too old"],
)
def test_feedback_tells_which_probes_came(sequences: list[int], known: int, before: int, newest: int) -> None:
    """Bit i of `before` is the probe i + 1 before the newest; `known` of the 16 bits mean anything."""
    agents = PeerAgents()
    peer = met(agents, probe(4, sequences[0], nonce=sequences[0] * 16 + 16))
    for sequence in sequences[1:]:
        assert agents.receive(probe(4, sequence, nonce=sequence * 16 + 16), 6, WALL_NS) is None
    fields = payload_of(peer.request())
    assert (fields[2], fields[7], fields[10]) == (known, newest * 16 + 16, before)


def test_restarted_agent_is_followed_from_its_first_probe() -> None:
    """Another stream begins at another sequence: what is known of the former one is forgotten."""
    agents = PeerAgents()
    peer = met(agents, probe(4, 1_000))
    agents.receive(probe(4, 1_001), 6, WALL_NS)
    agents.receive(probe(4, 2, nonce=32, stream=STREAM + 1), 7, WALL_NS)
    fields = payload_of(peer.request())
    assert (fields[2], fields[7], fields[10]) == (0, 32, 0)


def test_probes_that_name_a_request_are_counted() -> None:
    """Of five probes to two peers, one names a request of its peer; one names the other's, one a wrong nonce."""
    agents = PeerAgents()
    peer = met(agents, probe(4, 0))
    other = met(agents, probe(6, 0))
    named, of_the_other = payload_of(peer.request())[6], payload_of(other.request())[6]
    for sequence, names in enumerate((named, of_the_other, named ^ 1 << 32), 1):
        agents.receive(probe(4, sequence, names=names), 6, WALL_NS)
    assert (agents.probes, agents.naming) == (5, 1)


@pytest.mark.parametrize(
    "packet",
    [
        probe(4, 0, stream=0),
        probe(6, 0, wire_version=2),
        packets.echo_request(AGENT[4], PEER[4], 9, 0, b"x" * 56),
        packets.echo_request(AGENT[4], PEER[4], 9, 0, probe(4, 0)[28:-1]),
        packets.echo_reply(AGENT[4], PEER[4], 9, 0, probe(4, 0)[28:]),
    ],
    ids=["without feedback", "another version", "ping", "short", "reply"],
)
def test_other_packets_are_no_probes(packet: bytes) -> None:
    """Programs without feedback, other versions and other programs meet no peer."""
    agents = PeerAgents()
    assert agents.receive(packet, 5, WALL_NS) is None
    assert (agents.probes, agents.naming) == (0, 0)
