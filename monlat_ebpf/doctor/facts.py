"""What the doctor found: values alone, so that a test can be any machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from monlat_ebpf.model import Result
from monlat_ebpf.sources.tracepoint.permission import Rights


@dataclass(frozen=True, slots=True)
class Measured:
    """How a probe to `address` ended: `error` is the errno or ICMP error, "" for none; times in nanoseconds."""

    address: str
    result: Result
    rtt_ns: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """A source opened for real: `error` is "" when it opened, then `measured` has a probe for each address."""

    error: str = ""
    measured: tuple[Measured, ...] = ()


class Port(StrEnum):
    """What is at the agent's port."""

    FREE = "free"
    AGENT = "agent"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Firewall:
    """`stopping`: rules and policies that stop ICMP echo, a phrase each. `unknown`: why it could not be looked at."""

    stopping: tuple[str, ...] = ()
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """This machine and this process. Errors are "" where there is none.

    `sysctls` has those of the network namespace by their name, where they exist. `port` is the agent's TCP port,
    `port_state` what is there.
    """

    release: str
    """The kernel's, as uname(2) has it."""
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
    sysctls: Mapping[str, str] = field(default_factory=dict)
