"""The values that the parts of monlat hand to each other: small, frozen, no input or output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address


class Family(StrEnum):
    """An address family, spelt as the `family` label spells it."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @staticmethod
    def of(address: Address) -> Family:
        """Return the family of `address`."""
        return Family.IPV4 if address.version == 4 else Family.IPV6


class Result(StrEnum):
    """How a probe ended; each ends in exactly one way (DESIGN section 5)."""

    REPLY = "reply"
    LOST_NETWORK = "lost_network"
    LOST_FORWARD = "lost_forward"
    LOST_RETURN = "lost_return"
    LOST_HOST = "lost_host"
    UNREACHABLE = "unreachable"
    SEND_ERROR = "send_error"


@dataclass(frozen=True, slots=True)
class Peer:
    """A node to measure.

    `addresses` holds at most one address of each family, in order of preference: `latency_between_nodes`
    shows the first family that answers.
    """

    name: str
    addresses: tuple[Address, ...]
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bucket, in the layout of `bpf/monlat.h`; not cumulative.

    `buckets` has `abi.BUCKETS` entries, `sum_ns` is the sum of the samples in nanoseconds. `count` is the
    sum of the buckets.
    """

    buckets: tuple[int, ...]
    sum_ns: int

    @property
    def count(self) -> int:
        """The number of samples."""
        return sum(self.buckets)


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """The peer's clock minus ours, known to within `error_ns` to either side."""

    offset_ns: float
    error_ns: float


@dataclass(frozen=True, slots=True)
class Queueing:
    """Time of the last exchange above the window's least, by direction, nanoseconds."""

    forward_ns: int
    return_ns: int


@dataclass(frozen=True, slots=True)
class RecentProbe:
    """One of the last probes, ended. Times are nanoseconds, `sent_unix_ns` since 1970; None where not known.

    `dwell_ns` is the peer's, once it told; then RTT less dwell is what the network took. Its split into `forward_ns`
    and `return_ns` is by the estimated offset of the peer's clock, and as wrong as that is: each by up to
    ClockOffset.error_ns, the one as much too long as the other is too short (`monlat_ebpf/probing/one_way.py`).
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
    """What this node knows of one family of one peer, at one instant.

    `sent == sum(results.values()) + in_flight` always holds. Times are nanoseconds. `last_rtt_ns` is None
    while the peer does not answer, `min_rtt_ns` and `max_rtt_ns` until it first has. `device` is the name
    of the interface that the last probe left by, "" before there was one. What takes both ends' agents is None
    where the source does not see the peer's requests, or until it first did. `dwell` is of this node's kernel, when
    it answers the peer; `last_peer_dwell_ns` is of the peer's. The last four are of the exchanges that the peer told
    of, and None again when it has told of none of the last PROBES_PER_TARGET probes.
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


@dataclass(frozen=True, slots=True)
class AgentSnapshot:
    """What this agent knows at one instant; all that is shown anywhere comes from here.

    `pairs` is sorted by peer, and within a peer by its order of preference of families. `probe_errors`
    counts by ICMP error or errno name, `unmatched_packets` by reason. `rejected_feedback`
    as well, None where the source hears no feedback. `source_reason` is "" when the source is the first choice.
    `send_delay` is of all probes to all peers.
    """

    node: str
    zone: str
    source: str
    source_reason: str
    interval_seconds: float
    timeout_seconds: float
    pairs: Sequence[PairSnapshot]
    probe_errors: Mapping[str, int] = field(default_factory=dict)
    unmatched_packets: Mapping[str, int] = field(default_factory=dict)
    rejected_feedback: Mapping[str, int] | None = None
    send_delay: Histogram | None = None
