"""Links, addresses, routes and queues of a namespace: the front door to pyroute2."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_interface, ip_network
from types import TracebackType
from typing import Any, Literal, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.namespace import Namespace

IFA_F_NODAD = 0x02  # linux/if_addr.h
RTN_LOCAL = 2  # linux/rtnetlink.h


class Links:
    """A netlink connection into one namespace; a context manager, for use by one thread.

    Every method raises TestbedError with the kernel's own reason.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def __enter__(self) -> Self:
        # pyroute2 opens a socket per thread, in the namespace that the thread is in when it first needs it.
        with self._namespace.entered():
            self._netlink = IPRoute()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._netlink.close()

    def add_veth(self, name: str, peer: Namespace, peer_name: str, mtu: int = 1500) -> None:
        """Make a wire from `name` here to `peer_name` in the namespace `peer`, both ends down."""
        far = {"ifname": peer_name, "net_ns_fd": peer.descriptor, "mtu": mtu}
        self._ask(f"add veth {name}", "link", "add", ifname=name, kind="veth", mtu=mtu, peer=far)

    def add_bridge(self, name: str) -> None:
        """Make a bridge, down, that floods multicast: it has no querier to learn from."""
        self._ask(f"add bridge {name}", "link", "add", ifname=name, kind="bridge", br_mcast_snooping=0)

    def add_vlan(self, name: str, parent: str, tag: int) -> None:
        """Make `name`, which carries `parent`'s frames of VLAN `tag`."""
        index = self.index(parent)
        self._ask(f"add VLAN {name}", "link", "add", ifname=name, kind="vlan", link=index, vlan_id=tag)

    def add_bond(self, name: str, members: Sequence[str], mode: int = 1) -> None:
        """Make a bond of `members`, down; `mode` as in linux/if_bonding.h, 1 is active-backup."""
        self._ask(f"add bond {name}", "link", "add", ifname=name, kind="bond", bond_mode=mode, bond_miimon=10)
        for member in members:
            self.set_up(member, up=False)
            self.set_master(member, name)
            self.set_up(member)

    def delete(self, name: str) -> None:
        """Delete a link; a veth takes its other end along."""
        self._ask(f"delete {name}", "link", "del", index=self.index(name))

    def set_up(self, name: str, up: bool = True) -> None:
        """Set a link up, or down."""
        state = "up" if up else "down"
        self._ask(f"set {name} {state}", "link", "set", index=self.index(name), state=state)

    def set_mtu(self, name: str, mtu: int) -> None:
        """Set the largest packet that a link carries, in bytes without the Ethernet header."""
        self._ask(f"set the MTU of {name}", "link", "set", index=self.index(name), mtu=mtu)

    def set_queue_length(self, name: str, packets: int) -> None:
        """Set how many packets wait before a link."""
        self._ask(f"set the queue of {name}", "link", "set", index=self.index(name), txqlen=packets)

    def set_fixed_neighbours(self, name: str, hardware_address: bytes) -> None:
        """Give a link a hardware address, 6 bytes, and let it send to that same one without asking (no ARP)."""
        address = hardware_address.hex(":")
        self._ask(f"set {name} {address}", "link", "set", index=self.index(name), address=address, arp=False)

    def set_master(self, name: str, master: str) -> None:
        """Make a link a port of a bridge or a member of a bond."""
        index, master_index = self.index(name), self.index(master)
        self._ask(f"put {name} into {master}", "link", "set", index=index, master=master_index)

    def add_address(self, name: str, interface: str) -> None:
        """Give a link an address, such as "10.77.0.1/24"; it can be used at once."""
        self._address("add", name, interface)

    def delete_address(self, name: str, interface: str) -> None:
        """Take an address from a link."""
        self._address("del", name, interface)

    def _address(self, command: str, name: str, interface: str) -> None:
        parsed = ip_interface(interface)
        flags = {"flags": IFA_F_NODAD} if parsed.version == 6 and command == "add" else {}
        what = f"{command} address {interface} on {name}"
        address, length = str(parsed.ip), parsed.network.prefixlen
        self._ask(what, "addr", command, index=self.index(name), address=address, prefixlen=length, **flags)

    def add_route(self, network: str, gateway: str | None = None, device: str | None = None) -> None:
        """Add a route to `network`, by `gateway`, out of `device`, or both."""
        self._route("add", network, gateway, device)

    def delete_route(self, network: str, gateway: str | None = None, device: str | None = None) -> None:
        """Delete the route that the same arguments would add."""
        self._route("del", network, gateway, device)

    def _route(self, command: str, network: str, gateway: str | None, device: str | None) -> None:
        arguments: dict[str, Any] = {"dst": str(ip_network(network))}
        if gateway is not None:
            arguments["gateway"] = gateway
        if device is not None:
            arguments["oif"] = self.index(device)
        self._ask(f"{command} route {network}", "route", command, **arguments)

    def add_token_bucket(self, name: str, bits_per_second: int, burst_bytes: int, queue_bytes: int) -> None:
        """Put a tbf queue before a link: it lets `burst_bytes` pass at once and holds up to `queue_bytes` more."""
        rate = bits_per_second // 8
        arguments = {"rate": rate, "burst": burst_bytes, "limit": queue_bytes}
        self._ask(f"add tbf to {name}", "tc", "add", kind="tbf", index=self.index(name), handle="1:", **arguments)

    def delete_queue(self, name: str) -> None:
        """Give a link its default queue back."""
        self._ask(f"delete the queue of {name}", "tc", "del", index=self.index(name), root=True)

    def wait_until_usable(self, name: str, addresses: Sequence[str] = (), timeout: float = 10) -> None:
        """Return when a link carries packets and the kernel answers for `addresses`, given without prefix length.

        Both come a moment after the commands that ask for them, from work queues of the kernel; until then
        packets are dropped. Raises TestbedError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not (self._is_running(name) and all(self._is_local(address) for address in addresses)):
            if time.monotonic() > deadline:
                raise TestbedError(f"{name} in namespace {self._namespace.name} has no carrier: is the other end up?")
            time.sleep(0.001)

    def wait_until_without_carrier(self, name: str, timeout: float = 10) -> None:
        """Return when the kernel has noticed that the other end is down; it may take it a second.

        Until then packets are handed to the driver, which drops them. Raises TestbedError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while self._is_running(name):
            if time.monotonic() > deadline:
                raise TestbedError(
                    f"{name} in namespace {self._namespace.name} still has a carrier: is it a wire's end?"
                )
            time.sleep(0.001)

    def _is_running(self, name: str) -> bool:
        state = self._ask(f"find {name}", "link", "get", ifname=name)[0].get_attr("IFLA_OPERSTATE")
        return state in ("UP", "UNKNOWN")  # loopback, TUN and TAP know no carrier

    def _is_local(self, address: str) -> bool:
        route = self._ask(f"look up {address}", "route", "get", dst=address)[0]
        return bool(route["type"] == RTN_LOCAL)

    def index(self, name: str) -> int:
        """Return the number of the link of that name."""
        found = self._ask(f"find {name}", "link", "get", ifname=name)
        return int(found[0]["index"])

    def names(self) -> list[str]:
        """Return the names of all links."""
        return [link.get_attr("IFLA_IFNAME") for link in self._ask("list the links", "get_links")]

    def _ask(self, what: str, method: str, *arguments: Any, **options: Any) -> Any:
        call: Callable[..., Any] = getattr(self._netlink, method)
        try:
            return call(*arguments, **options)
        except NetlinkError as error:
            raise self._refused(what, error.code) from error
        except OSError as error:
            raise self._refused(what, error.errno or 0) from error

    def _refused(self, what: str, number: int) -> TestbedError:
        return TestbedError(f"cannot {what} in namespace {self._namespace.name}: {os.strerror(number)}")


def why_no_link_kind(kind: Literal["vlan", "bond"]) -> str:
    """Return the kernel's reason for having no links of `kind`, or "" when it has them."""
    with Namespace("probe") as namespace, Namespace("far") as far, Links(namespace) as links:
        try:
            if kind == "bond":
                links.add_bond("tried", ())
            else:
                links.add_veth("parent", far, "far")
                links.add_vlan("tried", "parent", 1)
        except TestbedError as error:
            return str(error)
    return ""
