"""Checks of what else an agent meets: answers to its peers, firewall, port. Pure: facts in, diagnosis out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.facts import Facts, Port

_ECHO_REPLY_V4: Final = 0
_ECHO_REPLY_V6: Final = 129


def echo(facts: Facts) -> Check:
    """Whether this node's kernel answers echo requests at all."""
    why = "the peers measure this node by its answers to echo requests"
    names = ("net.ipv4.icmp_echo_ignore_all", "net.ipv6.icmp.echo_ignore_all")
    ignoring = [name for name in names if facts.sysctls.get(name, "0") != "0"]
    if ignoring:
        return Check(
            "echo",
            Status.WARN,
            f"this node answers no echo request: {', '.join(f'{name}={facts.sysctls[name]}' for name in ignoring)}",
            why,
            "; ".join(f"sysctl -w {name}=0" for name in ignoring),
        )
    return Check("echo", Status.OK, "answered", why)


def echo_rate(facts: Facts) -> Check:
    """Whether the kernel limits the rate of its echo replies; by default it limits errors alone."""
    why = "a node that limits its echo replies looks to its peers as if the network lost packets"
    masks: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
        ("net.ipv4.icmp_ratelimit", "net.ipv4.icmp_ratemask", _is_in_bits),
        ("net.ipv6.icmp.ratelimit", "net.ipv6.icmp.ratemask", _is_in_ranges),
    )
    limited = [
        mask
        for rate, mask, holds in masks
        if facts.sysctls.get(rate, "0") != "0" and holds(facts.sysctls.get(mask, ""))
    ]
    if limited:
        return Check(
            "echo rate",
            Status.WARN,
            f"echo replies are rate limited: {', '.join(f'{mask}={facts.sysctls[mask]}' for mask in limited)}",
            why,
            f"take echo reply (type {_ECHO_REPLY_V4}; of ICMPv6 {_ECHO_REPLY_V6}) out of {' and '.join(limited)}",
        )
    return Check("echo rate", Status.OK, "echo replies are not limited", why)


def firewall(facts: Facts) -> Check:
    """Rules of this node that stop ICMP echo."""
    why = "a rule that drops ICMP echo makes this node unreachable for probes, or its peers for it"
    if facts.firewall.stopping:
        return Check(
            "firewall",
            Status.WARN,
            "; ".join(facts.firewall.stopping),
            why,
            "accept ICMP and ICMPv6 echo-request and echo-reply between the nodes, before these",
        )
    if facts.firewall.unknown:
        return Check("firewall", Status.OK, f"not looked at: {facts.firewall.unknown}", why)
    return Check("firewall", Status.OK, "no rule that stops ICMP echo was found", why)


def port(facts: Facts) -> Check:
    """The agent's TCP port."""
    why = "the agent serves its measurements there"
    number = facts.port
    if facts.port_state is Port.TAKEN:
        return Check(
            "port",
            Status.WARN,
            f"TCP port {number} is taken, and not by an agent",
            why,
            f"end what listens there (ss -ltnp 'sport = :{number}'), or give the agent another port with --listen",
        )
    says = "an agent answers at" if facts.port_state is Port.AGENT else "free:"
    return Check("port", Status.OK, f"{says} TCP port {number}", why)


def _is_in_bits(mask: str) -> bool:
    """Whether echo reply is in net.ipv4.icmp_ratemask, a bit for each type (icmp(7))."""
    return bool(int(mask or 0) >> _ECHO_REPLY_V4 & 1)


def _is_in_ranges(mask: str) -> bool:
    """Whether echo reply is in net.ipv6.icmp.ratemask, ranges of types: 0-1,3-127."""
    for part in filter(None, mask.split(",")):
        first, _, last = part.partition("-")
        if int(first) <= _ECHO_REPLY_V6 <= int(last or first):
            return True
    return False
