"""What this host drops on sending: `send_error` where the system call says so, else `lost_host`.

docs/measurement.md has the same table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.model import Family, Peer, Result
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from testkit.links import Links
from testkit.pair import Pair

PROBES = 3
NO_ROUTE = {Family.IPV4: "192.0.2.1", Family.IPV6: "2001:db8::1"}
LENGTH = {Family.IPV4: 32, Family.IPV6: 128}
ECHO_REQUEST = {Family.IPV4: "icmp type echo-request", Family.IPV6: "icmpv6 type echo-request"}

LOST_HOST = (Result.LOST_HOST, "")


def send_error(name: str) -> tuple[Result, str]:
    return Result.SEND_ERROR, name


@dataclass(frozen=True)
class Row:
    """Something that drops probes, what makes it and undoes it, and how probes over IPv4 and over IPv6 end then.

    In the commands {to} is the address that is probed, with its prefix length, {probes} its echo requests for nft, and
    {ip} the option of `ip` for the family. Without `is_routed` there is no route to that address otherwise.
    """

    name: str
    begin: str
    end: str
    over_ipv4: tuple[Result, str]
    over_ipv6: tuple[Result, str]
    is_routed: bool = True


def nft(name: str, family: str, hook: str, over_ipv4: tuple[Result, str], over_ipv6: tuple[Result, str]) -> Row:
    chain = f"chain c {{{{ type filter hook {hook} priority 0; {{probes}} drop; }}}}"
    begin = f"nft table {family} drops {{{{ {chain}; }}}}"
    return Row(name, begin, f"nft delete table {family} drops", over_ipv4, over_ipv6)


def route(kind: str, error: str) -> Row:
    add, delete = (f"ip {{ip}} route {command} {kind} {{to}}" for command in ("add", "delete"))
    return Row(f"{kind} route", add, delete, send_error(error), send_error(error), is_routed=False)


def rule(kind: str, error: str) -> Row:
    add, delete = (f"ip {{ip}} rule {command} to {{to}} priority 1 {kind}" for command in ("add", "delete"))
    return Row(f"{kind} rule", add, delete, send_error(error), send_error(error))


def queue(name: str, what: str) -> Row:
    add, delete = (f"tc qdisc {command} dev eth0 root" for command in ("add", "delete"))
    return Row(name, f"{add} {what}", delete, LOST_HOST, send_error("ENOBUFS"))


EPERM = (send_error("EPERM"), send_error("EPERM"))
ROWS = (
    Row("nothing", "true", "true", (Result.REPLY, ""), (Result.REPLY, "")),
    nft("firewall, output", "inet", "output", *EPERM),
    nft("firewall, postrouting", "inet", "postrouting", *EPERM),
    nft("firewall, egress of the device", "netdev", "egress device eth0", LOST_HOST, send_error("ENOBUFS")),
    Row("IPsec policy", "ip xfrm policy add dst {to} dir out action block", "ip xfrm policy flush", *EPERM),
    Row("no route", "true", "true", send_error("ENETUNREACH"), send_error("ENETUNREACH"), is_routed=False),
    route("throw", "ENETUNREACH"),
    route("unreachable", "EHOSTUNREACH"),
    route("prohibit", "EACCES"),
    route("blackhole", "EINVAL"),
    rule("unreachable", "ENETUNREACH"),
    rule("prohibit", "EACCES"),
    rule("blackhole", "EINVAL"),
    queue("full queue", "bfifo limit 10"),
    queue("queue for smaller packets", "tbf rate 8kbit burst 70 limit 1000"),
    Row(
        "blackhole queue", "tc qdisc add dev eth0 root blackhole", "tc qdisc delete dev eth0 root", LOST_HOST, LOST_HOST
    ),
    Row(
        "device down",
        "ip link set eth0 down",
        "ip link set eth0 up",
        send_error("ENETUNREACH"),
        send_error("ENETUNREACH"),
    ),
)


@pytest.fixture(scope="module")
def bed() -> Iterator[tuple[Pair, TracepointSource]]:
    with Pair() as pair:
        pair["node1"].namespace.sysctl("net.ipv6.conf.eth0.keep_addr_on_down", 1)
        with pair["node1"].namespace.entered():
            source = TracepointSource(TableSize(1))
        try:
            yield pair, source
        finally:
            source.close()


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_drop_on_sending(bed: tuple[Pair, TracepointSource], row: Row, family: Family) -> None:
    """Three probes end as the row says."""
    (here, there), source = bed[0].nodes, bed[1]
    address = NO_ROUTE[family] if not row.is_routed else there.ipv4 if family is Family.IPV4 else there.ipv6
    names = {"to": f"{address}/{LENGTH[family]}", "probes": ECHO_REQUEST[family]}

    def run(command: str) -> None:
        program, *arguments = command.format(**names, ip="-4" if family is Family.IPV4 else "-6").split()
        done = here.namespace.run([program, *([" ".join(arguments)] if program == "nft" else arguments)])
        assert done.returncode == 0, f"{command}: {done.stderr}"

    ended: list[tuple[Result, str]] = []
    prober = Prober(
        source,
        interval_seconds=0.02,
        timeout_seconds=0.1,
        max_peers=1,
        count=PROBES,
        on_outcome=lambda _target, outcome: ended.append((outcome.result, outcome.error)),
    )
    run(row.begin)
    try:
        prober.set_peers([Peer("far", (ip_address(address),))])
        prober.run()
    finally:
        run(row.end)
        for end in (here, there):
            with Links(end.namespace) as links:
                links.wait_until_usable(end.device, (end.ipv4, end.ipv6))
    assert ended == [row.over_ipv4 if family is Family.IPV4 else row.over_ipv6] * PROBES
