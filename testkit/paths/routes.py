"""Paths on which requests and replies go different ways, or change their addresses."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from monlat_ebpf.testbed.namespace import Namespace
from testkit.paths.devices import bridged, ends, far_end, veth
from testkit.paths.ground import FAR, NEAR, Device, Ends, Ground, ip, path, run

POSTROUTING: Final = "type nat hook postrouting priority 100"


@path("SRv6 for requests", without_rtt=(4, 6), contains="no RTT, because a request leaves in another packet")
def srv6(ground: Ground) -> Ends:
    """Requests leave with an outer header and a segment of the far end, which takes both off; replies come without."""
    built, wire = veth(ground), ground.device("wire")
    assert built.far
    segments = {4: ground.ipv6(4), 6: ground.ipv6(6)}
    unpacked = {4: f"End.DX4 nh4 {ground.ipv4(FAR)}", 6: "End.DT6 table local"}
    for version, address in zip(segments, ground.addresses(FAR), strict=True):
        segment = segments[version]
        ip(built.far.namespace, f"route add {segment} encap seg6local action {unpacked[version]} dev {wire}")
        ip(
            ground.near,
            f"route add {segment} via {ground.ipv6(FAR)} dev {wire}",
            f"route add {address} encap seg6 mode encap segs {segment} dev {wire}",
        )
    return built


@path("replies come by another device")
def asymmetric(ground: Ground) -> Ends:
    """The far end's route back is another wire, and no filter minds."""
    far, back = far_end(ground), ground.device("bck")
    ground.configure(ground.near, ground.device("wire"), NEAR)
    ground.wire(ground.near, far, "bck")
    ip(far, *(f"route add {address} dev {back}" for address in ground.addresses(NEAR)))
    ground.know(far, back, NEAR)
    return replace(ends(ground, far, "wire", "bck"), far=None)


@path("macvlan, its lower device in the agent's namespace too")
def macvlan_beside_its_lower(ground: Ground) -> Ends:
    far, upper, wire = far_end(ground, known=(FAR,)), ground.device("up"), ground.device("wire")
    ip(ground.near, f"link add {upper} link {wire} address {ground.mac(NEAR)} type macvlan mode bridge")
    ground.configure(ground.near, upper, NEAR)
    return ends(ground, far)


@path("bridge whose packets pass the firewall (br_netfilter)")
def bridge_with_firewall(ground: Ground) -> Ends:
    far = bridged(ground)
    for name in ("iptables", "ip6tables"):
        ground.near.sysctl(f"net.bridge.bridge-nf-call-{name}", 1)
    for family in ("ip", "ip6"):
        _rule(ground.near, ground, family, "type filter hook forward priority 0", "ct state established accept")
    return ends(ground, far)


@path("SNAT here")
def snat(ground: Ground) -> Ends:
    """Requests leave with another address of this host."""
    built, wire = veth(ground), ground.device("wire")
    other = {"ip": ground.ipv4(5), "ip6": ground.ipv6(5)}
    ip(ground.near, f"address add {other['ip']}/24 dev {wire}", f"address add {other['ip6']}/64 dev {wire} nodad")
    ground.expect(ground.near, wire, *other.values())
    for family, address in other.items():
        _rule(ground.near, ground, family, POSTROUTING, f'oifname "{wire}" snat to {address}')
    return built


@path("masquerade elsewhere")
def masquerade(ground: Ground) -> Ends:
    """A router between the two hides the agent's address behind its own."""
    router, far = ground.namespace("router"), ground.namespace("far")
    inner, wire = ground.wire(ground.near, router, "inn"), ground.wire(router, far, known=())
    number = ground.number
    ground.configure(ground.near, inner, NEAR, static_arp=False)
    for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        router.sysctl(key, 1)
    outer = {host: (f"10.77.{number}.{host}", f"fd77:0:0:{number:x}::{host}") for host in (3, FAR)}
    ip(
        router,
        *(f"address add {address}/{length} dev {inner} {flag}" for address, length, flag in _own(ground.addresses(3))),
        *(f"address add {address}/{length} dev {wire} {flag}" for address, length, flag in _own(outer[3])),
    )
    ip(far, *(f"address add {address}/{length} dev {wire} {flag}" for address, length, flag in _own(outer[FAR])))
    ip(
        ground.near,
        *(f"route add {peer} via {via}" for peer, via in zip(outer[FAR], ground.addresses(3), strict=True)),
    )
    for family in ("ip", "ip6"):
        _rule(router, ground, family, POSTROUTING, f'oifname "{wire}" masquerade')
    ground.expect(router, inner, *ground.addresses(3))
    ground.expect(router, wire, *outer[3])
    ground.expect(far, wire, *outer[FAR])
    near = Device(ground.near, inner)
    peer = replace(ground.peer, addresses=tuple(map(ip_address, outer[FAR])))
    return Ends(peer, near, near, Device(far, wire))


def _own(addresses: tuple[str, str]) -> tuple[tuple[str, int, str], tuple[str, int, str]]:
    """Return both addresses with their prefix lengths and flags."""
    return (addresses[0], 24, ""), (addresses[1], 64, "nodad")


def _rule(namespace: Namespace, ground: Ground, family: str, hook: str, rule: str) -> None:
    """Add a rule to a chain of this path alone."""
    run(namespace, "nft", f"table {family} {ground.device('t')} {{ chain c {{ {hook}; {rule}; }}; }}")
