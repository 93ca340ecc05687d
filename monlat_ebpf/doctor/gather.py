"""Collects the facts about this machine and this process."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from monlat_ebpf.config import DEFAULT_PORT
from monlat_ebpf.doctor.destinations import Destination, choose
from monlat_ebpf.doctor.facts import Facts, Firewall, NetworkPath, Port, UnlistedProbes
from monlat_ebpf.doctor.firewall import iptables_stops, nft_stops
from monlat_ebpf.doctor.trial import run_trial
from monlat_ebpf.errors import AgentUnreachable, RouteError, SourceError
from monlat_ebpf.exposition import client
from monlat_ebpf.exposition.api import PeersDocument
from monlat_ebpf.host.addresses import default_routes, is_local, route_to
from monlat_ebpf.host.next_hops import LinkAddressTable, NextHops
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources.held_identifier import HeldIdentifier
from monlat_ebpf.sources.socket.source import SocketSource
from monlat_ebpf.sources.tracepoint.btf import KernelTypes
from monlat_ebpf.sources.tracepoint.permission import Rights, read_rights
from monlat_ebpf.sources.tracepoint.source import TracepointSource

SYSCTLS: Final = (
    "net.ipv4.icmp_echo_ignore_all",
    "net.ipv4.icmp_ratelimit",
    "net.ipv4.icmp_ratemask",
    "net.ipv4.ping_group_range",
    "net.ipv6.icmp.echo_ignore_all",
    "net.ipv6.icmp.ratelimit",
    "net.ipv6.icmp.ratemask",
)
_AGENT_SECONDS: Final = 2.0
_COMMAND_SECONDS: Final = 30.0
# in a separate process: importing bcc maps LLVM, and a broken LLVM may crash the process
_TRY_BCC: Final = (
    "import json, bcc; print(json.dumps([str(bcc.__file__), hasattr(bcc, 'BPF'), getattr(bcc, '__version__', '')]))"
)
_LEGACY_TABLES: Final = {
    "/proc/net/ip_tables_names": "iptables-legacy-save",
    "/proc/net/ip6_tables_names": "ip6tables-legacy-save",
}


def gather(addresses: Sequence[Address] = ()) -> Facts:
    """Return the facts. Compile the kernel program, and send a probe to 127.0.0.1 and to ::1 with each source.

    Send probes with the kernel program to `addresses`, too; without any, to peers of the agent or default gateways.
    """
    agent = _ask_agent()
    destinations = choose(addresses, agent["pairs"] if agent else (), default_routes())
    paths = tuple(map(_path, destinations))
    beyond = [destination.address for destination, path in zip(destinations, paths, strict=True) if not path.error]
    bcc_error, bcc_version = _bcc()
    btf_error, libbpf_error = _kernel_types()
    return Facts(
        release=platform.release(),
        btf_error=btf_error,
        libbpf_error=libbpf_error,
        bcc_error=bcc_error,
        bcc_version=bcc_version,
        rights=_rights(),
        tracepoint=run_trial(TracepointSource, beyond),
        socket=run_trial(SocketSource),
        firewall=_firewall(),
        link_tables=_link_tables(),
        port=DEFAULT_PORT,
        port_state=_port(DEFAULT_PORT, agent is not None),
        sysctls={name: value for name in SYSCTLS if (value := _sysctl(name)) is not None},
        paths=paths,
        identifier_is_held=_can_hold_identifier(),
        unlisted=_unlisted(agent, _ask_agent()),  # after the trials, which take seconds
    )


def _ask_agent() -> PeersDocument | None:
    """Return what the agent on this node measures, None without an agent."""
    try:
        return client.ask_this_node(_AGENT_SECONDS)
    except AgentUnreachable:
        return None


def _unlisted(before: PeersDocument | None, after: PeersDocument | None) -> Mapping[Family, UnlistedProbes] | None:
    """Return what the agent counted from one answer to the other; one that started meanwhile began at 0."""
    if before is None or after is None:
        return None
    counts = {Family(name): count for name, count in after["unlisted_source_probes"].items()}
    return {
        family: UnlistedProbes(count - min(before["unlisted_source_probes"][family.value], count), count)
        for family, count in counts.items()
    }


def _can_hold_identifier() -> bool:
    identifier = HeldIdentifier()
    identifier.close()
    return identifier.is_held


def _path(destination: Destination) -> NetworkPath:
    address, owner = destination
    if is_local(address):
        return NetworkPath(str(address), owner, error=f"{address} belongs to this host")
    try:
        return NetworkPath(str(address), owner, route_to(address).device)
    except RouteError as error:
        return NetworkPath(str(address), owner, error=str(error))


def _rights() -> Rights | None:
    try:
        return read_rights()
    except OSError:
        return None  # no /proc, or another process's


def _kernel_types() -> tuple[str, str]:
    """Return the error of BTF and the error of libbpf, which reads BTF."""
    try:
        KernelTypes()
    except SourceError as error:
        return (str(error), "") if "libbpf cannot be loaded" not in str(error) else ("", str(error))
    return "", ""


def _bcc() -> tuple[str, str]:
    """Return the error of BCC, and its version and path."""
    done = _run(sys.executable, "-P", "-c", _TRY_BCC)
    if done.returncode != 0:
        output = done.stderr.strip().splitlines()
        return output[-1] if output else f"its import ended with status {done.returncode}", ""
    path, is_bcc, version = json.loads(done.stdout.splitlines()[-1])
    return ("" if is_bcc else f"{path} is a different package of the same name"), f"{version} ({path})".strip()


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip()
    except OSError:
        return None


def _firewall() -> Firewall:
    stopping: list[str] = []
    unknown = ""
    if shutil.which("nft") is None:
        unknown = "nft is not installed"
    else:
        done = _run("nft", "-j", "list", "ruleset")
        try:
            stopping += nft_stops(done.stdout)
        except ValueError:
            output = done.stderr.strip().splitlines()
            unknown = f"nft answers: {output[0]}" if output else "nft prints no JSON"
    for names, program in _LEGACY_TABLES.items():
        if not Path(names).parent.exists():
            unknown = unknown or "/proc/net cannot be read, which names the tables of iptables-legacy"
        elif not _has_text(names):
            continue  # without tables, running the program would load kernel modules
        elif shutil.which(program):
            stopping += iptables_stops(_run(program).stdout, program)
        else:
            unknown = unknown or f"{program} is not installed, and the kernel has tables of it"
    return Firewall(tuple(stopping), unknown)


def _has_text(path: str) -> bool:
    try:
        return bool(Path(path).read_text(encoding="ascii").strip())
    except OSError:
        return False


def _link_tables() -> Mapping[Family, LinkAddressTable]:
    with closing(NextHops()) as hops:
        return hops.tables()


def _port(port: int, agent_answers: bool) -> Port:
    if agent_answers:
        return Port.AGENT
    return Port.FREE if _can_listen(port) else Port.TAKEN


def _can_listen(port: int) -> bool:
    family, address = (socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "0.0.0.0")
    try:
        with socket.create_server(
            (address, port), family=family, dualstack_ipv6=family == socket.AF_INET6, reuse_port=False
        ):
            return True
    except OSError:
        return False


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
