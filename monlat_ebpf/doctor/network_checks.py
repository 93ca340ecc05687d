"""Checks of echo replies, firewall and port: pure functions of the facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.facts import Facts, Port, UnlistedProbes
from monlat_ebpf.model import Family
from monlat_ebpf.sources.held_identifier import EXPOSED, may_open_ping_sockets

_ECHO_REPLY_V4: Final = 0
_ECHO_REPLY_V6: Final = 129
_NO_PROC: Final = "not checked: /proc/sys/net cannot be read"


def echo(facts: Facts) -> Check:
    """Check that this node's kernel answers echo requests."""
    why = "the peers measure this node by its echo replies"
    if not facts.sysctls:
        return Check("echo", Status.SKIP, _NO_PROC, why, "mount /proc")
    names = ("net.ipv4.icmp_echo_ignore_all", "net.ipv6.icmp.echo_ignore_all")
    ignoring = [name for name in names if facts.sysctls.get(name, "0") != "0"]
    if ignoring:
        return Check(
            "echo",
            Status.WARN,
            f"echo requests are not answered: {', '.join(f'{name}={facts.sysctls[name]}' for name in ignoring)}",
            why,
            "; ".join(f"sysctl -w {name}=0" for name in ignoring),
        )
    return Check("echo", Status.OK, "answered", why)


def echo_rate(facts: Facts) -> Check:
    """Check that the kernel does not limit the rate of echo replies. By default it limits only ICMP errors."""
    why = "replies suppressed by a rate limit look like packet loss in the network"
    if not facts.sysctls:
        return Check("echo rate", Status.SKIP, _NO_PROC, why, "mount /proc")
    masks: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
        ("net.ipv4.icmp_ratelimit", "net.ipv4.icmp_ratemask", _is_in_bits),
        ("net.ipv6.icmp.ratelimit", "net.ipv6.icmp.ratemask", _is_in_ranges),
    )
    limited = [
        mask
        for rate, mask, includes_reply in masks
        if facts.sysctls.get(rate, "0") != "0" and includes_reply(facts.sysctls.get(mask, ""))
    ]
    if limited:
        return Check(
            "echo rate",
            Status.WARN,
            f"echo replies are rate limited: {', '.join(f'{mask}={facts.sysctls[mask]}' for mask in limited)}",
            why,
            f"remove echo reply (type {_ECHO_REPLY_V4}; ICMPv6: {_ECHO_REPLY_V6}) from {' and '.join(limited)}",
        )
    return Check("echo rate", Status.OK, "echo replies are not limited", why)


def firewall(facts: Facts) -> Check:
    """Check that no firewall rule of this node stops ICMP echo."""
    why = "a rule that drops ICMP echo stops the probes to this node, or its own"
    if facts.firewall.stopping:
        return Check(
            "firewall",
            Status.WARN,
            "; ".join(facts.firewall.stopping),
            why,
            "accept echo-request and echo-reply of ICMP and ICMPv6 between the nodes, before these rules",
        )
    if facts.firewall.unknown:
        return Check("firewall", Status.SKIP, f"not checked: {facts.firewall.unknown}", why)
    return Check("firewall", Status.OK, "no rule stops ICMP echo", why)


def ping_sockets(facts: Facts) -> Check:
    """Check that no other user can open a ping socket with the agent's identifier."""
    why = "with the nonces in these replies, a user can change what the peers measure of this node"
    name, key = "ping sockets", "net.ipv4.ping_group_range"
    groups = facts.sysctls.get(key)
    if facts.identifier_is_held:
        return Check(name, Status.OK, "no other user can take the agent's identifier", why)
    if groups is None:
        return Check(name, Status.SKIP, _NO_PROC, why, "mount /proc")
    if may_open_ping_sockets(groups):
        remedy = f"let nobody open them (sysctl -w {key}='1 0'), or a group of the agent, too ('0 2147483647')"
        return Check(name, Status.WARN, EXPOSED, why, remedy)
    return Check(name, Status.OK, "no user may open one", why)


def own_address(unlisted: Mapping[Family, UnlistedProbes]) -> Check:
    """Check that the agent's probes leave from an address of this node in the list of peers.

    What the agent counted before the doctor ran is found, but no problem of today.
    """
    name, why = "own address", "the peers find a node's requests by its listed address"
    others = [
        f"{family}: {probes.recent} probes now, {probes.total} since the agent's start"
        for family, probes in unlisted.items()
        if probes.total
    ]
    if not others:
        return Check(name, Status.OK, "no probe of the agent left from an unlisted address", why)
    found = f"not this node's listed address: {', '.join(others)}"
    if not any(probes.recent for probes in unlisted.values()):
        return Check(name, Status.OK, found, why)
    return Check(
        name,
        Status.WARN,
        found,
        why,
        "give this node's entry in the list of peers an address of this host (ip address), or the host that address",
    )


def port(facts: Facts) -> Check:
    """Check that the agent's TCP port is free, or an agent's."""
    why = "the agent serves its measurements on it"
    number = facts.port
    if facts.port_state is Port.TAKEN:
        return Check(
            "port",
            Status.WARN,
            f"TCP port {number} is used by another program",
            why,
            f"stop the program that listens there (ss -ltnp 'sport = :{number}'), or choose another port with --listen",
        )
    state = "used by an agent" if facts.port_state is Port.AGENT else "free"
    return Check("port", Status.OK, f"TCP port {number} is {state}", why)


def _is_in_bits(mask: str) -> bool:
    """Return whether echo reply is in net.ipv4.icmp_ratemask, a bit per type (icmp(7))."""
    return bool(int(mask or 0) >> _ECHO_REPLY_V4 & 1)


def _is_in_ranges(mask: str) -> bool:
    """Return whether echo reply is in net.ipv6.icmp.ratemask, ranges of types such as 0-1,3-127."""
    for part in filter(None, mask.split(",")):
        first, _, last = part.partition("-")
        if int(first) <= _ECHO_REPLY_V6 <= int(last or first):
            return True
    return False
