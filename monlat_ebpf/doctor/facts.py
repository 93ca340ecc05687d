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
    """The result of a probe to `address`. `error` is the name of an errno or ICMP error, "" without one."""

    address: str
    result: Result
    rtt_ns: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """An attempt to open a source. `error` is "" if it opened; `measured` then has one probe per address."""

    error: str = ""
    measured: tuple[Measured, ...] = ()


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

    `sysctls` are the existing ones of gather.SYSCTLS in this network namespace, by name. `port` is the agent's TCP
    port, and `port_state` says who uses it.
    """

    release: str
    """The kernel's release, from uname(2)."""
    btf_error: str
    libbpf_error: str
    bcc_error: str
    bcc_version: str
    rights: Rights
    tracepoint: Trial
    socket: Trial
    firewall: Firewall
    port: int
    port_state: Port
    link_tables: Mapping[Family, LinkAddressTable] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
