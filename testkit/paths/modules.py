"""Kinds of devices that need a module of a distribution's kernel."""

from __future__ import annotations

import secrets
from base64 import b64encode
from dataclasses import replace
from typing import Final

from pyroute2 import WireGuard

from monlat_ebpf.model import Peer, Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit import bpf_programs
from testkit.paths.devices import ENOBUFS, ends, far_end, stacked, tunnel_ends, tunnelled
from testkit.paths.ground import FAR, NEAR, OF_MODULES, Device, Ends, Ground, ip, path

_PORT: Final = 51820


def _vlan(namespace: Namespace, parent: str, name: str, host: int, ground: Ground, protocol: str = "802.1q") -> None:
    ip(
        namespace,
        f"link add link {parent} name {name} address {ground.mac(host)} type vlan protocol {protocol} id 7",
        f"link set {name} up",
    )


def _tagged(ground: Ground, *protocols: str) -> tuple[Namespace, str]:
    """Make a VLAN in a VLAN for each protocol, at both ends of a wire; return the far end and the last name."""
    far = ground.namespace("far")
    parent = ground.wire(ground.near, far)
    for number, protocol in enumerate(protocols):
        name = ground.device(f"{'tu'[number]}ag")
        for namespace, host in ((ground.near, NEAR), (far, FAR)):
            _vlan(namespace, parent, name, host, ground, protocol)
        parent = name
    for namespace, host in ((ground.near, NEAR), (far, FAR)):
        ground.configure(namespace, parent, host)
    return far, parent


@path("VLAN", among=OF_MODULES)
def vlan(ground: Ground) -> Ends:
    far, _ = _tagged(ground, "802.1q")
    return ends(ground, far)


@path("VLAN, its lower device drops", Result.LOST_HOST, Result.SEND_ERROR, among=OF_MODULES, contains=ENOBUFS)
def vlan_that_drops(ground: Ground) -> Ends:
    built = vlan(ground)
    bpf_programs.drop(ground.near, ground.device("wire"), "egress")
    return built


@path("QinQ, two tags", among=OF_MODULES)
def qinq(ground: Ground) -> Ends:
    """A packet socket on the wire sees tags in place of the packet, but one on the far end's inner device does not."""
    far, inner = _tagged(ground, "802.1ad", "802.1q")
    return replace(ends(ground, far), far=Device(far, inner))


@path("VLAN moved into a namespace", among=OF_MODULES)
def vlan_moved(ground: Ground) -> Ends:
    host, far = ground.namespace("host"), ground.namespace("far")
    wire, tag = ground.wire(host, far), ground.device("tag")
    _vlan(host, wire, tag, NEAR, ground)
    _vlan(far, wire, tag, FAR, ground)
    ip(host, f"link set {tag} netns {ground.near.path}")
    ground.configure(ground.near, tag, NEAR)
    ground.configure(far, tag, FAR)
    return Ends(ground.peer, Device(host, wire), Device(host, wire), Device(far, wire))


@path("bond", among=OF_MODULES)
def bond(ground: Ground) -> Ends:
    """An active-backup bond with the wire for its member."""
    far, name, wire = far_end(ground), ground.device("bond"), ground.device("wire")
    ip(
        ground.near,
        f"link add {name} type bond mode active-backup miimon 10",
        f"link set {wire} down",
        f"link set {wire} master {name}",
    )
    ground.configure(ground.near, name, NEAR)
    return ends(ground, far)


@path(
    "bond, its member drops",
    Result.LOST_NETWORK,
    Result.SEND_ERROR,
    among=OF_MODULES,
    contains=f"{ENOBUFS}; IPv4: the bond had sent it",
)
def bond_that_drops(ground: Ground) -> Ends:
    built = bond(ground)
    bpf_programs.drop(ground.near, ground.device("wire"), "egress")
    return built


@path("ipvlan in a namespace", among=OF_MODULES)
def ipvlan(ground: Ground) -> Ends:
    """It has the hardware address of its lower device."""
    return stacked(ground, "ipvlan mode l2", own_address=False)


@path("VRF, the peer behind it", among=OF_MODULES)
def vrf(ground: Ground) -> Ends:
    """The wire belongs to a VRF, the agent to none; routes of the main table lead into the VRF."""
    far, name, wire = far_end(ground), ground.device("vrf"), ground.device("wire")
    table = 1000 + ground.number
    ip(
        ground.near,
        f"link add {name} type vrf table {table}",
        f"link set {name} up",
        f"link set {wire} master {name}",
        # not by `configure`, which waits for them in the main table: they are local in the VRF's
        f"address add {ground.ipv4(NEAR)}/24 dev {wire}",
        f"address add {ground.ipv6(NEAR)}/64 dev {wire} nodad",
        *(f"route add {address} dev {wire}" for address in ground.addresses(FAR)),
    )
    ground.know(ground.near, wire, FAR)
    return ends(ground, far)


@path("Geneve", among=OF_MODULES, contains="the outer path, this host's queue below the tunnel included")
def geneve(ground: Ground) -> Ends:
    return tunnel_ends(ground, tunnelled(ground, f"geneve id {ground.number}"))


@path("IPIP", among=OF_MODULES, contains="the outer path, this host's queue below the tunnel included")
def ipip(ground: Ground) -> Ends:
    """It carries IPv4 alone."""
    built = tunnel_ends(ground, tunnelled(ground, "ipip", ethernet=False))
    return Ends(Peer(ground.name, built.peer.addresses[:1]), built.sent, built.received, built.far)


@path("WireGuard", among=OF_MODULES, contains="the outer path, encryption and this host's queue below it included")
def wireguard(ground: Ground) -> Ends:
    far, name = ground.namespace("far"), ground.device("tun")
    wire = ground.wire(ground.near, far)
    outer = {host: f"10.79.{ground.number}.{host}" for host in (NEAR, FAR)}
    sides = {NEAR: ground.near, FAR: far}
    keys = {host: _make_wireguard(sides[host], name) for host in sides}
    for host, namespace in sides.items():
        other = NEAR + FAR - host
        ip(namespace, f"address add {outer[host]}/24 dev {wire}",
           f"neighbour replace {outer[other]} lladdr {ground.mac(other)} dev {wire} nud permanent")  # fmt: skip
        with namespace.entered(), WireGuard() as generic:
            generic.set(name, peer={
                "public_key": keys[other], "endpoint_addr": outer[other], "endpoint_port": _PORT,
                "allowed_ips": [f"{ground.ipv4(other)}/32", f"{ground.ipv6(other)}/128"],
            })  # fmt: skip
        ground.configure(namespace, name, host, static_arp=False)
    # The first packet waits for the handshake. Linux 5.10 may drop one of those behind it.
    first = ground.near.run(["ping", "-n", "-c", "1", "-W", "20", ground.ipv4(FAR)])
    assert first.returncode == 0, f"no handshake: {first.stdout}"
    return tunnel_ends(ground, far)


def _make_wireguard(namespace: Namespace, name: str) -> str:
    """Make a device with a private key of its own; return the public one, which the kernel computes."""
    ip(namespace, f"link add {name} type wireguard")
    with namespace.entered(), WireGuard() as generic:
        generic.set(name, private_key=b64encode(secrets.token_bytes(32)).decode(), listen_port=_PORT)
        (device,) = generic.info(name)
        public: bytes = device.get_attr("WGDEVICE_A_PUBLIC_KEY")
    return public.decode()
