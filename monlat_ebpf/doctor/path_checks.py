"""Checks of the paths to other addresses: who stamps the replies, or why there are none. Pure functions of the facts.

A reply that only the stack stamps makes the machine unfit, and so do probes or replies that this host drops. An address
that does not answer is not this host's failure: its path is skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple, TypedDict

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.facts import Facts, Measured, NetworkPath
from monlat_ebpf.model import Result
from monlat_ebpf.probing.ledger import NOT_DELIVERED

_NAME: Final = "path"
_WHY: Final = "loopback passes no network device: only replies from elsewhere show who stamps them"
_WHY_DRIVER: Final = "the RTT of such a reply contains some microseconds of this host's stack and scheduling"
_GIVE_ANOTHER: Final = "name an address of another node that answers: monlat doctor ADDRESS"
_FIREWALL: Final = "nft list ruleset, iptables-save"


class _Finding(NamedTuple):
    """What a Check is made of."""

    status: Status
    found: str
    why: str = _WHY
    remedy: str = ""


class PathDocument(TypedDict):
    """A path, in JSON. `results` and `errors` count the probes; `stamped_by` counts the replies.

    `device` is that of the route. `reply_device` delivered the replies. `min_rtt_seconds` is null without an RTT.
    """

    address: str
    owner: str
    device: str
    error: str
    results: dict[str, int]
    errors: dict[str, int]
    reply_device: str
    stamped_by: dict[str, int]
    min_rtt_seconds: float | None


def paths(facts: Facts) -> list[Check]:
    """Return the check of each path; a single one that is skipped if there is none."""
    if not facts.paths:
        found = "not tested: there is no default gateway, no agent with peers, and no ADDRESS was given"
        return [Check(_NAME, Status.SKIP, found, _WHY, _GIVE_ANOTHER)]
    return [_check(facts, path) for path in facts.paths]


def is_confirmed(checks: Sequence[Check]) -> bool:
    """Return whether replies of another address were stamped by the driver."""
    return any(check.status is Status.OK for check in checks if check.name.split()[0] == _NAME)


def path_document(facts: Facts, path: NetworkPath) -> PathDocument:
    """Return one path in the format of --json."""
    probes = _probes(facts, path)
    rtts = [each.rtt_ns for each in probes if each.rtt_ns is not None]
    return {
        "address": path.address,
        "owner": path.owner,
        "device": path.device,
        "error": path.error,
        "results": dict(Counter(each.result.value for each in probes)),
        "errors": dict(Counter(each.error for each in probes if each.error)),
        "reply_device": next((each.device for each in probes if each.device), ""),
        "stamped_by": dict(Counter(each.stamped_by for each in probes if each.stamped_by)),
        "min_rtt_seconds": min(rtts) / NANOSECONDS_PER_SECOND if rtts else None,
    }


def _probes(facts: Facts, path: NetworkPath) -> list[Measured]:
    return [each for each in facts.tracepoint.beyond if each.address == path.address]


def _check(facts: Facts, path: NetworkPath) -> Check:
    name = f"{_NAME} {path.address}"
    probes = _probes(facts, path)
    if path.error:
        return Check(name, Status.SKIP, f"not tested: {path.error}", _WHY, _GIVE_ANOTHER)
    if facts.tracepoint.error:
        return Check(name, Status.SKIP, "not tested: there is no tracepoint source", _WHY)
    replies = [each for each in probes if each.result is Result.REPLY]
    finding = _of_replies(path, replies) if replies else _of_losses(path, probes)
    begin = f"{path.owner}: " if path.owner else ""
    if finding.status is not Status.SKIP:
        begin += f"{len(replies)} of {len(probes)} probes through {path.device} answered"
    return Check(name, finding.status, begin + finding.found, finding.why, finding.remedy)


def _of_replies(path: NetworkPath, replies: Sequence[Measured]) -> _Finding:
    """Judge by the most of them: single packets can pass the hooks while the kernel runs another tracing program."""
    by_stack = [each for each in replies if each.stamped_by != "driver"]
    rtts = [each.rtt_ns for each in replies if each.stamped_by == "driver" and each.rtt_ns is not None]
    if 2 * len(rtts) > len(replies):
        others = f" ({len(replies) - len(rtts)} were not)" if len(rtts) < len(replies) else ""
        return _Finding(Status.OK, f", stamped by the driver{others}, in {min(rtts) / 1000:.0f} us")
    status = Status.WARN if rtts else Status.FAIL
    if not by_stack:
        found = f", {len(replies) - len(rtts)} without an RTT: no hook saw the requests at the driver"
        return _Finding(status, found, "an RTT begins where the driver gets the request", _report(path.device))
    device = by_stack[0].device or path.device
    found = f", {len(by_stack)} of the replies stamped by the stack: no hook saw them at the driver of {device}"
    return _Finding(status, found, _WHY_DRIVER, _report(device))


def _report(device: str) -> str:
    return (
        "run the agent in the network namespace of the network card (in a pod: hostNetwork: true); if it is there, "
        f"report the driver (ethtool -i {device}) with the kernel's version"
    )


def _of_losses(path: NetworkPath, probes: Sequence[Measured]) -> _Finding:
    errors = Counter(each.error for each in probes if each.error)
    results = Counter(each.result for each in probes)
    address, device = path.address, path.device
    if count := errors[NOT_DELIVERED]:
        return _Finding(
            Status.FAIL,
            f": {count} replies reached the driver, and this host dropped them",
            "an agent counts such probes as lost_host, although the network lost nothing",
            f"accept echo replies in the firewall ({_FIREWALL}), and look at the reverse path filter (sysctl "
            f"net.ipv4.conf.all.rp_filter net.ipv4.conf.{device}.rp_filter)",
        )
    if count := errors["EPERM"]:
        return _Finding(
            Status.FAIL,
            f": a firewall rule of this host refused {count} requests (EPERM)",
            "an agent counts such probes as send_error",
            f"accept echo requests in the output rules of the firewall ({_FIREWALL})",
        )
    if errors["no_neighbour"]:
        return _not_tested(f"nobody has the address {address}, or its next hop: ARP and NDP get no answer on {device}")
    if results[Result.UNREACHABLE]:
        return _not_tested(f"{address} is unreachable ({', '.join(errors)})")
    if count := results[Result.LOST_HOST]:
        return _Finding(
            Status.WARN,
            f": {count} requests did not reach a driver of this host",
            "an agent counts such probes as lost_host",
            f"see whether {address} exists (ip neigh show {address}), the link (ip -s link show {device}), its queue "
            f"(tc -s qdisc show dev {device}) and the firewall's output rules ({_FIREWALL})",
        )
    if results[Result.SEND_ERROR]:
        found = f": sending failed ({', '.join(errors)})"
        return _Finding(Status.WARN, found, "an agent counts such probes as send_error", f"ip route get {address}")
    return _not_tested(f"{address} does not answer through {device}")


def _not_tested(reason: str) -> _Finding:
    return _Finding(Status.SKIP, f"not tested: {reason}", remedy=_GIVE_ANOTHER)
