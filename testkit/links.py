"""Links of a namespace as tests need them: more kinds, routes and queues than the test bed of `monlat demo`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any, Literal

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed import links
from monlat_ebpf.testbed.namespace import Namespace


class Links(links.Links):
    """A netlink connection into one namespace. A context manager, for use by one thread.

    Every method raises TestbedError with the kernel's reason.
    """

    def add_vlan(self, name: str, parent: str, tag: int) -> None:
        """Create `name` for the frames of VLAN `tag` on `parent`."""
        index = self.index(parent)
        self._ask(f"add VLAN {name}", "link", "add", ifname=name, kind="vlan", link=index, vlan_id=tag)

    def add_bond(self, name: str, members: Sequence[str], mode: int = 1) -> None:
        """Create a bond of `members`, down. `mode` is from linux/if_bonding.h; 1 is active-backup."""
        self._ask(f"add bond {name}", "link", "add", ifname=name, kind="bond", bond_mode=mode, bond_miimon=10)
        for member in members:
            self.set_up(member, up=False)
            self.set_master(member, name)
            self.set_up(member)

    def delete(self, name: str) -> None:
        """Delete a link. Deleting a veth deletes its other end too."""
        self._ask(f"delete {name}", "link", "del", index=self.index(name))

    def set_queue_length(self, name: str, packets: int) -> None:
        """Set how many packets the queue of a link holds."""
        self._ask(f"set the queue of {name}", "link", "set", index=self.index(name), txqlen=packets)

    def set_fixed_neighbours(self, name: str, hardware_address: bytes) -> None:
        """Set the hardware address of a link, 6 bytes, and make it send to the same address without ARP."""
        address = hardware_address.hex(":")
        self._ask(f"set {name} {address}", "link", "set", index=self.index(name), address=address, arp=False)

    def delete_address(self, name: str, interface: str) -> None:
        """Delete an address of a link."""
        self._address("del", name, interface)

    def add_route(self, network: str, gateway: str | None = None, device: str | None = None) -> None:
        """Add a route to `network` via `gateway`, through `device`, or both."""
        self._route("add", network, gateway, device)

    def delete_route(self, network: str, gateway: str | None = None, device: str | None = None) -> None:
        """Delete the route that add_route with the same arguments adds."""
        self._route("del", network, gateway, device)

    def _route(self, command: str, network: str, gateway: str | None, device: str | None) -> None:
        arguments: dict[str, Any] = {"dst": str(ip_network(network))}
        if gateway is not None:
            arguments["gateway"] = gateway
        if device is not None:
            arguments["oif"] = self.index(device)
        self._ask(f"{command} route {network}", "route", command, **arguments)

    def add_token_bucket(self, name: str, bits_per_second: int, burst_bytes: int, queue_bytes: int) -> None:
        """Add a tbf queue to a link: `burst_bytes` pass at once, and up to `queue_bytes` wait."""
        rate = bits_per_second // 8
        arguments = {"rate": rate, "burst": burst_bytes, "limit": queue_bytes}
        self._ask(f"add tbf to {name}", "tc", "add", kind="tbf", index=self.index(name), handle="1:", **arguments)

    def delete_queue(self, name: str) -> None:
        """Restore the default queue of a link."""
        self._ask(f"delete the queue of {name}", "tc", "del", index=self.index(name), root=True)

    def wait_until_without_carrier(self, name: str, timeout: float = 10) -> None:
        """Wait until the kernel has noticed that the other end is down, which may take a second.

        Until then it passes packets to the driver, which drops them. Raises TestbedError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while self._is_running(name):
            if time.monotonic() > deadline:
                raise TestbedError(
                    f"{name} in namespace {self._namespace.name} still has a carrier: is it one end of a veth pair?"
                )
            time.sleep(0.001)

    def names(self) -> list[str]:
        """Return the names of all links."""
        return [link.get_attr("IFLA_IFNAME") for link in self._ask("list the links", "get_links")]


def why_no_link_kind(kind: Literal["vlan", "bond"]) -> str:
    """Return the kernel's reason for not supporting links of `kind`, or "" if it supports them."""
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
