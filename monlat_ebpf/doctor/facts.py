"""What the doctor found: plain values, so that a test can describe any machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from monlat_ebpf.host.next_hops import LinkAddressTable
from monlat_ebpf.model import Family, Result
from monlat_ebpf.sources.tracepoint.permission import Rights


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a probe to `address`.

    `error` is the name of an errno, an ICMP error or another cause, "" without one. `device` delivered the reply, and
    `stamped_by` is "driver" or "stack"; "" without a reply, and of a source that does not say.
    """

    address: str
    result: Result
    rtt_ns: int | None = None
    error: str = ""
    device: str = ""
    stamped_by: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """An attempt to open a source. `error` is "" if it opened.

    `measured` then has one probe to each loopback address, and `beyond` all probes to other addresses.
    """

    error: str = ""
    measured: tuple[Measured, ...] = ()
    beyond: tuple[Measured, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkPath:
    """The way to an address beyond this host.

    `owner` is a peer, "gateway", or "" if the user gave the address. `device` is that of the route. `error` says why
    there is nothing to probe, "" otherwise.
    """

    address: str
    owner: str = ""
    device: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class UnlistedProbes:
    """Probes of the agent that left from an address that is not this node's in the list of peers.

    `recent` of them while the doctor ran, `total` since the agent's start.
    """

    recent: int
    total: int


class Port(StrEnum):
    """Who uses the agent's port."""

    FREE = "free"
    AGENT = "agent"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Firewall:
    """`stopping`: rules and policies that stop ICMP echo, one text each. `unknown`: why the rules cannot be read."""

    stopping: tuple[str, ...] = ()
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """This machine and this process. An error is "" if there is none.

    `rights` is None if they cannot be read, and `sysctls` is empty if none can.
    `sysctls` are the existing ones of gather.SYSCTLS in this network namespace, by name. `port` is the agent's TCP
    port, and `port_state` says who uses it.
    """

    release: str
    """The kernel's release, from uname(2)."""
    btf_error: str
    libbpf_error: str
    bcc_error: str
    bcc_version: str
    rights: Rights | None
    tracepoint: Trial
    socket: Trial
    firewall: Firewall
    port: int
    port_state: Port
    link_tables: Mapping[Family, LinkAddressTable] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[NetworkPath, ...] = ()
    identifier_is_held: bool = True
    """Whether an identifier could be reserved, as the agent does: no ping socket of another user can have it."""
    unlisted: Mapping[Family, UnlistedProbes] | None = None
    """What the agent on this node counts; None without an agent."""
