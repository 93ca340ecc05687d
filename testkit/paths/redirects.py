"""Programs, rules and addresses that lead a packet elsewhere, or nowhere."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from monlat_ebpf.model import Result
from testkit import bpf_programs
from testkit.actions import AddOptions, FragmentWhole, TwoExtensionHeaders
from testkit.paths.answerer import to_another_mac, with_wrong_header_checksum, with_wrong_length
from testkit.paths.devices import ENOBUFS, answered, ends, far_end, veth
from testkit.paths.ground import DEAD, FAR, NEAR, Device, Ends, Ground, ip, path, run

TO = "u32 match u32 0 0 action mirred egress"


def _pod(ground: Ground) -> tuple[Ends, Device, Device]:
    """Give the agent a veth pair into a host; return the ends, and the host's devices towards agent and peer."""
    host, far = ground.namespace("host"), ground.namespace("far")
    wire, pod = ground.wire(host, far), ground.wire(ground.near, host, "pod")
    ground.configure(far, wire, FAR)
    ground.configure(ground.near, pod, NEAR)
    taken = Device(ground.near, pod)
    return Ends(ground.peer, taken, taken, Device(far, wire)), Device(host, pod), Device(host, wire)


@path("bpf_redirect_peer into the agent's namespace")
def redirect_peer(ground: Ground) -> Ends:
    """As Cilium gives packets to a pod: no hook sees them on the pod's device."""
    built, pod, wire = _pod(ground)
    bpf_programs.redirect(pod.namespace, pod.name, wire.name)
    bpf_programs.redirect(wire.namespace, wire.name, pod.name, "redirect_peer")
    return replace(built, received=wire)


@path("bpf_redirect_neigh, both ways")
def redirect_neigh(ground: Ground) -> Ends:
    """As Cilium routes packets from a pod: the host's tables give the next hop."""
    built, pod, wire = _pod(ground)
    ip(
        wire.namespace,
        *(f"route add {address} dev {wire.name}" for address in ground.addresses(FAR)),
        *(f"route add {address} dev {pod.name}" for address in ground.addresses(NEAR)),
    )
    ground.know(wire.namespace, wire.name, FAR)
    ground.know(wire.namespace, pod.name, NEAR)
    bpf_programs.redirect(pod.namespace, pod.name, wire.name, "redirect_neigh")
    bpf_programs.redirect(wire.namespace, wire.name, pod.name, "redirect_neigh")
    return built


@path("bpf_redirect to another device's ingress")
def redirect(ground: Ground) -> Ends:
    """Replies change their device after the wire has received them."""
    far, other, end = far_end(ground), ground.device("oth"), ground.device("end")
    ip(ground.near, f"link add {other} address {ground.mac(NEAR)} type veth peer name {end}")
    ip(ground.near, f"link set {other} up", f"link set {end} up")
    ground.configure(ground.near, ground.device("wire"), NEAR)
    bpf_programs.redirect(ground.near, ground.device("wire"), other, received=True)
    return ends(ground, far)


def mirred(ground: Ground, device: str, side: str, what: str, to: str) -> None:
    """Redirect or mirror each packet of a device to the queue of another one."""
    run(ground.near, "tc", "qdisc", "add", "dev", device, "clsact")
    rule = f"filter add dev {device} {side} protocol all {TO} {what} dev {to}"
    run(ground.near, "tc", *rule.split())


@path("mirred redirect of requests")
def mirred_redirect(ground: Ground) -> Ends:
    """Requests that were routed to one device leave by the wire."""
    far, other, end = far_end(ground), ground.device("oth"), ground.device("end")
    ip(ground.near, f"link add {other} address {ground.mac(NEAR)} type veth peer name {end}", f"link set {end} up")
    ground.configure(ground.near, other, NEAR)
    mirred(ground, other, "egress", "redirect", ground.device("wire"))
    return ends(ground, far)


@path("mirred mirror of requests to a slow queue")
def mirred_mirror(ground: Ground) -> Ends:
    built, copy, end = veth(ground), ground.device("cpy"), ground.device("end")
    ip(ground.near, f"link add {copy} type veth peer name {end}", f"link set {copy} up", f"link set {end} up")
    ground.slow(ground.near, copy)
    mirred(ground, ground.device("wire"), "egress", "mirror", copy)
    return built


@path("ifb, a queue for what is received")
def ifb(ground: Ground) -> Ends:
    """Shaping of received packets: the queue is this host's, behind the driver."""
    built, device = veth(ground), ground.device("ifb")
    ip(ground.near, f"link add {device} type ifb", f"link set {device} up")
    ground.slow(ground.near, device)
    mirred(ground, ground.device("wire"), "ingress", "redirect", device)
    return built


@path("firewall in a namespace of this host, a queue in it", contains="the firewall, both ways")
def firewall(ground: Ground) -> Ends:
    """A probe leaves the agent's namespace, comes back from the firewall and leaves again, and so does its reply."""
    far, wall, bridge = far_end(ground, known=(FAR,)), ground.namespace("wall"), ground.device("br")
    inner = ground.wire(ground.near, wall, "inn", known=(NEAR,))
    outer = ground.wire(ground.near, wall, "out", known=())
    ip(wall, f"link add {bridge} type bridge mcast_snooping 0", f"link set {bridge} up",
       *(f"link set {port} master {bridge}" for port in (inner, outer)))  # fmt: skip
    ip(ground.near, f"link add {bridge} type bridge mcast_snooping 0", f"link set {bridge} up",
       *(f"link set {port} master {bridge}" for port in (outer, ground.device("wire"))))  # fmt: skip
    ground.configure(ground.near, inner, NEAR)
    ground.slow(wall, inner)
    return ends(ground, far, "inn")


@path("virtual address, OUTPUT DNAT here")
def virtual_address(ground: Ground) -> Ends:
    """The agent probes addresses that a rule of its own host translates to the peer's."""
    built, wire = veth(ground), ground.device("wire")
    ipv4, ipv6 = ground.ipv4(9).replace("10.78", "10.77"), ground.ipv6(9).replace("fd78", "fd77")
    ip(ground.near, f"route add {ipv4} dev {wire}", f"route add {ipv6} dev {wire}")
    name, hook = ground.device("t"), "type nat hook output priority -100"
    rules = f"table ip {name} {{ chain c {{ {hook}; ip daddr {ipv4} dnat to {ground.ipv4(FAR)}; }}; }}\n"
    rules += f"table ip6 {name} {{ chain c {{ {hook}; ip6 daddr {ipv6} dnat to {ground.ipv6(FAR)}; }}; }}"
    run(ground.near, "nft", rules)
    return replace(built, peer=replace(built.peer, addresses=(ip_address(ipv4), ip_address(ipv6))))


@path("own route with mtu lock 68", without_rtt=(4,), contains="IPv4: no RTT, because requests leave in fragments")
def mtu_lock(ground: Ground) -> Ends:
    built = veth(ground)
    ip(ground.near, f"route add {ground.ipv4(FAR)} dev {ground.device('wire')} mtu lock 68")
    return built


@path("reply in two fragments", by_stack=(4, 6), contains="some µs until the stack delivers the reply")
def fragments(ground: Ground) -> Ends:
    return answered(ground, action=FragmentWhole())


@path("reply with two IPv6 extension headers", by_stack=(6,), contains="IPv6: some µs until the stack delivers it")
def extension_headers(ground: Ground) -> Ends:
    return answered(ground, action=TwoExtensionHeaders())


@path("reply with IPv4 options, one IPv6 extension header", by_stack=(6,))
def options(ground: Ground) -> Ends:
    return answered(ground, action=AddOptions())


@path("two agents on one host")
def two_agents(ground: Ground) -> Ends:
    """The path is a plain wire; a second agent of the agent's namespace probes the same peer."""
    return veth(ground)


@path("generic XDP_PASS here")
def generic_xdp_pass(ground: Ground) -> Ends:
    built = veth(ground)
    bpf_programs.attach_xdp(ground.near, ground.device("wire"), "generic", "pass")
    return built


@path("native XDP_PASS here")
def native_xdp_pass(ground: Ground) -> Ends:
    built = veth(ground)
    bpf_programs.attach_xdp(ground.near, ground.device("wire"), "native", "pass")
    return built


@path("generic XDP_DROP here", Result.LOST_HOST)
def generic_xdp_drop(ground: Ground) -> Ends:
    built = veth(ground)
    bpf_programs.attach_xdp(ground.near, ground.device("wire"), "generic", "drop")
    return built


@path(
    "native XDP_DROP here", Result.LOST_NETWORK, contains="the driver drops before any hook; said to be the network's"
)
def native_xdp_drop(ground: Ground) -> Ends:
    built = veth(ground)
    bpf_programs.attach_xdp(ground.near, ground.device("wire"), "native", "drop")
    return built


@path("tc drops replies here", Result.LOST_HOST)
def tc_drop(ground: Ground) -> Ends:
    built = veth(ground)
    bpf_programs.drop(ground.near, ground.device("wire"), "ingress")
    return built


def _rule(ground: Ground, hook: str, kind: str) -> None:
    device = f"{'o' if hook == 'output' else 'i'}ifname {ground.device('wire')}"
    rules = f"table inet {ground.device('t')} {{ chain c {{ type filter hook {hook} priority 0;"
    rules += f" {device} icmp type echo-{kind} drop; {device} icmpv6 type echo-{kind} drop; }}; }}"
    run(ground.near, "nft", rules)


@path("firewall drops replies here, INPUT", Result.LOST_HOST)
def input_drop(ground: Ground) -> Ends:
    built = veth(ground)
    _rule(ground, "input", "reply")
    return built


@path("firewall drops replies here, PREROUTING", Result.LOST_HOST)
def prerouting_drop(ground: Ground) -> Ends:
    built = veth(ground)
    _rule(ground, "prerouting", "reply")
    return built


@path("firewall drops requests here, OUTPUT", Result.SEND_ERROR)
def output_drop(ground: Ground) -> Ends:
    built = veth(ground)
    _rule(ground, "output", "request")
    return built


@path("tc drops requests here", Result.LOST_HOST, Result.SEND_ERROR, contains=ENOBUFS)
def tc_egress_drop(ground: Ground) -> Ends:
    built = veth(ground)
    bpf_programs.drop(ground.near, ground.device("wire"), "egress")
    return built


@path("rp_filter drops replies here (IPv4 has it)", Result.LOST_HOST, Result.REPLY)
def rp_filter(ground: Ground) -> Ends:
    """Replies come back by another wire than the one that the near route names."""
    far, back = far_end(ground), ground.device("bck")
    ground.configure(ground.near, ground.device("wire"), NEAR)
    ground.wire(ground.near, far, "bck")
    ground.near.sysctl(f"net.ipv4.conf.{back}.rp_filter", 1)
    ip(far, *(f"route add {address} dev {back}" for address in ground.addresses(NEAR)))
    ground.know(far, back, NEAR)
    built = ends(ground, far, "wire", "bck")
    return replace(built, far=None)


@path("reply to another MAC", Result.LOST_HOST)
def wrong_mac(ground: Ground) -> Ends:
    return answered(ground, change=to_another_mac)


@path("reply with a wrong header checksum (IPv4 has it)", Result.LOST_HOST, Result.REPLY)
def wrong_header_checksum(ground: Ground) -> Ends:
    return answered(ground, change=with_wrong_header_checksum)


@path("reply shorter than its header says", Result.LOST_HOST)
def wrong_length(ground: Ground) -> Ends:
    return answered(ground, change=with_wrong_length)


@path("the peer drops replies", Result.LOST_NETWORK)
def far_drop(ground: Ground) -> Ends:
    built = veth(ground)
    assert built.far
    bpf_programs.drop(built.far.namespace, built.far.name, "egress")
    return built


@path("nobody has the address", Result.UNREACHABLE, among=DEAD)
def nobody(ground: Ground) -> Ends:
    """A node on the same link whose power was cut some time ago."""
    wire = ground.wire(ground.near, ground.namespace("far"))
    ground.configure(ground.near, wire, NEAR, static_arp=False)
    return Ends(ground.peer)
