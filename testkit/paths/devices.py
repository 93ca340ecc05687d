"""Kinds of devices between the agent and the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from monlat_ebpf.model import Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit import bpf_programs
from testkit.paths.answerer import Answerer
from testkit.paths.ground import FAR, NEAR, Device, Ends, Ground, ip, path

ENOBUFS: Final = "IPv6's system call fails, with ENOBUFS"


def far_end(ground: Ground, known: Sequence[int] = (NEAR, FAR)) -> Namespace:
    """Return the peer's namespace, joined to the agent's by a wire without near addresses."""
    far = ground.namespace("far")
    name = ground.wire(ground.near, far, known=known)
    ground.configure(far, name, FAR)
    return far


def ends(ground: Ground, far: Namespace, sent: str = "wire", received: str = "") -> Ends:
    """Return the ends of a path whose t1 and t4 belong to devices of the agent's namespace."""
    near = ground.near
    taken = Device(near, ground.device(sent)), Device(near, ground.device(received or sent))
    return Ends(ground.peer, *taken, Device(far, ground.device("wire")))


@path("veth")
def veth(ground: Ground) -> Ends:
    """Two namespaces on one wire."""
    far = far_end(ground)
    ground.configure(ground.near, ground.device("wire"), NEAR)
    return ends(ground, far)


@path("veth with a queue")
def queue(ground: Ground) -> Ends:
    """The near device has a slow queue: t1 is behind it."""
    built = veth(ground)
    ground.slow(ground.near, ground.device("wire"))
    return built


def bridged(ground: Ground) -> Namespace:
    """Make a bridge of which the wire is a port; the near addresses are on the bridge."""
    far, bridge = far_end(ground), ground.device("br")
    ip(ground.near, f"link add {bridge} address {ground.mac(NEAR)} type bridge mcast_snooping 0")
    ip(ground.near, f"link set {ground.device('wire')} master {bridge}")
    ground.configure(ground.near, bridge, NEAR)
    return far


@path("bridge, a queue on its port")
def bridge_with_queue(ground: Ground) -> Ends:
    far = bridged(ground)
    ground.slow(ground.near, ground.device("wire"))
    return ends(ground, far)


@path("bridge, its port drops", Result.LOST_HOST)
def bridge_that_drops(ground: Ground) -> Ends:
    far = bridged(ground)
    bpf_programs.drop(ground.near, ground.device("wire"), "egress")
    return ends(ground, far)


@path("two bridges, joined by a veth pair", contains="the second bridge and the pair")
def two_bridges(ground: Ground) -> Ends:
    """The wire is a port of one bridge, the addresses are on a second one, and a veth pair joins them."""
    far, near = far_end(ground, known=(FAR,)), ground.near
    outer, inner, one, two = (ground.device(kind) for kind in ("br", "in", "joa", "job"))
    ip(
        near,
        f"link add {outer} type bridge mcast_snooping 0",
        f"link add {inner} address {ground.mac(NEAR)} type bridge mcast_snooping 0",
        f"link add {one} type veth peer name {two}",
        *(f"link set {port} master {outer}" for port in (ground.device("wire"), one)),
        f"link set {two} master {inner}",
        *(f"link set {each} up" for each in (one, two, outer)),
    )
    ground.configure(near, inner, NEAR)
    return ends(ground, far, "job")


def stacked(ground: Ground, kind: str, *, own_address: bool = True) -> Ends:
    """Make a device whose lower device is in another namespace."""
    host, far = ground.namespace("host"), ground.namespace("far")
    wire, upper = ground.wire(host, far, known=(FAR,) if own_address else (NEAR, FAR)), ground.device("up")
    address = f"address {ground.mac(NEAR)}" if own_address else ""
    ground.configure(far, wire, FAR)
    ip(host, f"link add {upper} link {wire} {address} netns {ground.near.path} type {kind}")
    ground.configure(ground.near, upper, NEAR)
    return Ends(ground.peer, Device(host, wire), Device(host, wire), Device(far, wire))


@path("macvlan in a namespace")
def macvlan(ground: Ground) -> Ends:
    return stacked(ground, "macvlan mode bridge")


@path("macvtap in a namespace")
def macvtap(ground: Ground) -> Ends:
    """A macvtap whose descriptor nobody has opened is a macvlan."""
    return stacked(ground, "macvtap mode bridge")


@path("VXLAN, a queue below it", contains="the outer path, this host's queue below the tunnel included")
def vxlan(ground: Ground) -> Ends:
    far = tunnelled(ground, f"vxlan id {ground.number} dstport 4789")
    ground.slow(ground.near, ground.device("wire"))
    return tunnel_ends(ground, far)


@path("VXLAN, a drop below it", Result.LOST_NETWORK, contains="the outer path drops; said to be the network's")
def vxlan_that_drops(ground: Ground) -> Ends:
    tunnelled(ground, f"vxlan id {ground.number} dstport 4789")
    bpf_programs.drop(ground.near, ground.device("wire"), "egress")
    return Ends(ground.peer)


def tunnelled(ground: Ground, kind: str, *, ethernet: bool = True) -> Namespace:
    """Make a tunnel whose outer addresses are 10.79.N.1 and 10.79.N.2; the inner ones are those of the path."""
    near, far = ground.near, ground.namespace("far")
    wire, tunnel = ground.wire(near, far), ground.device("tun")
    outer = [f"10.79.{ground.number}.{host}" for host in (NEAR, FAR)]
    for namespace, host in ((near, NEAR), (far, FAR)):
        other = NEAR + FAR - host
        mine, theirs = outer[host - 1], outer[other - 1]
        remote = f"remote {theirs}" if kind.startswith("geneve") else f"local {mine} remote {theirs}"
        ip(
            namespace,
            f"address add {mine}/24 dev {wire}",
            f"neighbour replace {theirs} lladdr {ground.mac(other)} dev {wire} nud permanent",
            f"link add {tunnel} {f'address {ground.mac(host)}' if ethernet else ''} type {kind} {remote}",
        )
        ground.configure(namespace, tunnel, host, static_arp=ethernet)
    return far


def tunnel_ends(ground: Ground, far: Namespace) -> Ends:
    """Return the ends of a tunnel: no hook knows an outer packet."""
    near = Device(ground.near, ground.device("tun"))
    return Ends(ground.peer, near, near, Device(far, near.name))


def answered(ground: Ground, **how: object) -> Ends:
    """Make a TUN or TAP device behind which user space answers."""
    name = ground.device("raw")
    addresses = f"{ground.ipv4(NEAR)}/24", f"{ground.ipv6(NEAR)}/64"
    answerer = Answerer(ground.near, name, addresses, ground.addresses(FAR), **how)  # type: ignore[arg-type]
    ground.stack.enter_context(answerer)
    taken = Device(ground.near, name)
    return Ends(ground.peer, taken, taken, answerer=answerer)


@path("TUN")
def tun(ground: Ground) -> Ends:
    return answered(ground, kind="tun")


@path("TAP")
def tap(ground: Ground) -> Ends:
    return answered(ground)


@path("TAP whose driver uses napi_gro_frags", by_stack=(4, 6), contains="some µs until the stack delivers the reply")
def tap_in_frags(ground: Ground) -> Ends:
    return answered(ground, in_frags=True)
