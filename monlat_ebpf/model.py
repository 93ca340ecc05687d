"""The values that the parts of monlat exchange: small, frozen, without input or output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

Address = IPv4Address | IPv6Address

LONGEST_NAME: Final = 253
"""Bytes of UTF-8: the longest name of a node in Kubernetes (an RFC 1123 subdomain)."""


def why_unfit(name: str) -> str | None:
    """Return why `name` cannot be the name of a node or zone, as the end of a sentence. None: it can."""
    if not name:
        return "is empty"
    for character in name:
        if not character.isprintable():
            return f"holds U+{ord(character):04X}, which does not print"
    if name != name.strip():
        return "begins or ends with a space"
    size = len(name.encode())
    if size > LONGEST_NAME:
        return f"is {size} bytes long, and a label holds {LONGEST_NAME} at most"
    return None


class Family(StrEnum):
    """An address family. The values are those of the label `family`."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @staticmethod
    def of(address: Address) -> Family:
        """Return the family of `address`."""
        return Family.IPV4 if address.version == 4 else Family.IPV6


class Result(StrEnum):
    """The result of a probe. Each probe ends with exactly one, at its deadline or when a report tells its direction.

    REPLY: the stack delivered a reply whose receive stamp is before the deadline. LOST_NETWORK: the driver got the
    request, and no reply came in time. LOST_FORWARD, LOST_RETURN: lost, and the peer reported that it did not, or did,
    receive the request. LOST_HOST: the request did not reach the driver in time, or the reply was received and not
    delivered. UNREACHABLE: an ICMP error came back, or no neighbour has the next hop's address. SEND_ERROR: the system
    call failed.
    """

    REPLY = "reply"
    LOST_NETWORK = "lost_network"
    LOST_FORWARD = "lost_forward"
    LOST_RETURN = "lost_return"
    LOST_HOST = "lost_host"
    UNREACHABLE = "unreachable"
    SEND_ERROR = "send_error"


class PeerKind(StrEnum):
    """What a peer is. The values are those of the label `kind`.

    NODE: a node of the cluster, with an agent. TARGET: any other host that answers echo requests; no agent is expected
    on it.
    """

    NODE = "node"
    TARGET = "target"


class HistogramKind(StrEnum):
    """A histogram of a pair. The values are those of `--histograms`."""

    RTT = "rtt"
    NETWORK = "network"
    DWELL = "dwell"


class Detail(StrEnum):
    """Whose histograms a scrape shows: each pair's, sums by zone, or nobody's. The values are those of `--detail`."""

    PEER = "peer"
    ZONE = "zone"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Shown:
    """How much of a pair a scrape shows: which histograms, and whose.

    Where `detail` is not PEER, the `worst` pairs of the last minutes are shown in full all the same.
    """

    histograms: tuple[HistogramKind, ...] = tuple(HistogramKind)
    detail: Detail = Detail.PEER
    worst: int = 0


EVERYTHING: Final = Shown()


@dataclass(frozen=True, slots=True)
class Peer:
    """A node or target to measure.

    `addresses` has at most one address of each family, in order of preference: `latency_between_nodes` shows the
    first family that answers.
    """

    name: str
    addresses: tuple[Address, ...]
    zone: str = ""
    kind: PeerKind = PeerKind.NODE


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bucket, not cumulative, in the layout of `bpf/monlat.h`.

    `buckets` has `layout.BUCKETS` entries. `sum_ns` is the sum of the samples in nanoseconds.
    """

    buckets: tuple[int, ...]
    sum_ns: int

    @property
    def count(self) -> int:
        """The number of samples."""
        return sum(self.buckets)


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """The peer's clock minus ours. The error in either direction is at most `error_ns`."""

    offset_ns: float
    error_ns: float


@dataclass(frozen=True, slots=True)
class Queueing:
    """Time of the last exchange above the minimum of the window, by direction, in nanoseconds."""

    forward_ns: int
    return_ns: int


@dataclass(frozen=True, slots=True)
class RecentProbe:
    """One of the last probes that have ended. Times are in nanoseconds, `sent_unix_ns` since 1970. None: not known.

    `dwell_ns` is the peer's dwell, once the peer has reported it. RTT minus dwell is the network RTT. `forward_ns` and
    `return_ns` split it by the estimated offset of the peer's clock: one can be too long, and the other too short by
    the same amount, at most ClockOffset.error_ns (`monlat_ebpf/probing/one_way.py`).
    """

    sequence: int
    result: Result
    sent_unix_ns: int
    send_delay_ns: int | None = None
    rtt_ns: int | None = None
    dwell_ns: int | None = None
    forward_ns: int | None = None
    return_ns: int | None = None


@dataclass(frozen=True, slots=True)
class PairSnapshot:
    """The measurements of one address family of one peer at one instant. Times are in nanoseconds.

    `sent == sum(results.values()) + in_flight` always holds. `last_rtt_ns` is None while the peer does not answer,
    `min_rtt_ns` and `max_rtt_ns` until its first reply. `device` is the interface of the last probe, "" before the
    first one.

    The other fields need an agent at the peer. They are None if the source cannot see the peer's requests, and until
    it sees the first. `dwell` is the time that this node's kernel takes to answer the peer, `last_peer_dwell_ns` the
    time that the peer's kernel takes. The four fields before `kind` are of the exchanges that the peer reported. They
    become None again when it has reported none of the last PROBES_PER_TARGET probes.
    """

    to: str
    family: Family
    address: Address
    to_zone: str
    device: str
    sent: int
    results: Mapping[Result, int]
    in_flight: int
    late: int
    duplicates: int
    last_rtt_ns: int | None
    min_rtt_ns: int | None
    max_rtt_ns: int | None
    rtt: Histogram
    network_rtt: Histogram | None = None
    dwell: Histogram | None = None
    last_network_rtt_ns: int | None = None
    last_peer_dwell_ns: int | None = None
    clock_offset: ClockOffset | None = None
    queueing: Queueing | None = None
    kind: PeerKind = PeerKind.NODE


class PairReading(NamedTuple):
    """What a scrape shows of one address family of one peer: the counts of one instant, the histograms still as bytes.

    A named tuple, because a scrape makes thousands of them: it is made three times as fast as a frozen dataclass.
    `sent == sum(results) + in_flight` always holds; `results` is in the order of Result. `counts` is the pair's
    `struct target`, `session` the two histograms of its `struct session` (`bpf/monlat.h`), None if the source cannot
    see the peer's requests. `created_unix_seconds` says since when the pair is measured, by the wall clock. `device` is
    the index of the interface of the last probe, 0 before the first one. The other fields are those of PairSnapshot.
    """

    to: str
    family: Family
    address: Address
    to_zone: str
    kind: PeerKind
    created_unix_seconds: int
    device: int
    sent: int
    results: tuple[int, ...]
    in_flight: int
    last_rtt_ns: int | None
    min_rtt_ns: int | None
    counts: bytes
    session: bytes | None = None
    clock_offset: ClockOffset | None = None
    queueing: Queueing | None = None


@dataclass(frozen=True, slots=True)
class AgentSnapshot:
    """All measurements of this agent at one instant. JSON is made from it.

    `/metrics` is made from one without pairs, and from the PairReading of each pair, which are read one by one.
    `created_unix_seconds` says since when the agent counts, by the wall clock. `pairs` is sorted by peer, and within a
    peer by its preference of families. `probe_errors` counts by ICMP error, errno name or other cause. `reply_stamps`
    counts by device and by whose stamp it was, "driver" or "stack". `unlisted_sources` counts probes that left from an
    address by which the peers do not know this node. `unmatched_packets` and `rejected_feedback` count by reason;
    `rejected_feedback` is None if the source receives no feedback. `skipped_probes` were due while the agent did not
    run. `source_reason` says why the source is not the first choice, "" when it is. `send_delay` is of all probes to
    all peers.
    """

    node: str
    zone: str
    source: str
    source_reason: str
    interval_seconds: float
    timeout_seconds: float
    pairs: Iterable[PairSnapshot] = ()
    created_unix_seconds: int = 0
    probe_errors: Mapping[str, int] = field(default_factory=dict)
    unmatched_packets: Mapping[str, int] = field(default_factory=dict)
    rejected_feedback: Mapping[str, int] | None = None
    skipped_probes: int = 0
    send_delay: Histogram | None = None
    reply_stamps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unlisted_sources: Mapping[Family, int] = field(default_factory=dict)
