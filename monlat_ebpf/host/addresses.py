"""Whether an address belongs to this host, the kernel's route to an address, and the default routes.

With testbed/links.py the only importer of pyroute2.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from monlat_ebpf.errors import RouteError
from monlat_ebpf.host.interfaces import device_name, interface_of, socket_address
from monlat_ebpf.model import Address

_ANY_PORT = 9  # discard; nothing is sent
_REMEMBERED_SECONDS = 60.0


def is_local(address: Address) -> bool:
    """Return whether `address` belongs to this host (in the current network namespace).

    Ask the kernel for the source address of packets to it: that is the address itself only if it is local. Packets to
    a second IPv4 address of a network have the first one for their source, unless the socket is bound. With
    net.ipv4.ip_nonlocal_bind any address can be bound, but only a local one can be connected then.
    """
    domain = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(domain, socket.SOCK_DGRAM) as sock:
            if address.version == 4:
                sock.bind((str(address), 0))
            sock.connect(socket_address(address, _ANY_PORT))
            return ip_address(sock.getsockname()[0]).packed == address.packed
    except OSError:
        return False  # cannot be bound, or no route: a local address always has one


class LocalAddresses:
    """Remembers for a minute which addresses belong to this host: thousands are asked about with each list of peers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Address, bool] = {}
        self._until = 0.0

    def among(self, addresses: Iterable[Address]) -> frozenset[Address]:
        """Return those of `addresses` that belong to this host; forget all others that were asked about before."""
        now = self._clock()
        if now >= self._until:
            self._known, self._until = {}, now + _REMEMBERED_SECONDS
        known = self._known
        self._known = {address: known[address] if address in known else is_local(address) for address in addresses}
        return frozenset(address for address, local in self._known.items() if local)


@dataclass(frozen=True, slots=True)
class Route:
    """How packets to an address leave this network namespace; `gateway` and `source` are "" if the route has none."""

    device: str
    gateway: str
    source: str

    def __str__(self) -> str:
        """Format the route as ip-route(8) does."""
        gateway = f"via {self.gateway} " if self.gateway else ""
        source = f" src {self.source}" if self.source else ""
        return f"{gateway}dev {self.device}{source}"


def route_to(address: Address) -> Route:
    """Return the route to `address`. Raises RouteError when the kernel has none."""
    # Imported here because it costs 20 MB, and the agent does not need it.
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as netlink:
            (found,) = netlink.route("get", **_destination(address))
            (link,) = netlink.link("get", index=found.get_attr("RTA_OIF"))
    except NetlinkError as error:
        raise _no_route(address, error.code) from error
    except OSError as error:
        raise _no_route(address, error.errno or 0) from error
    return Route(link.get_attr("IFLA_IFNAME"), _gateway(found), found.get_attr("RTA_PREFSRC") or "")


def default_routes() -> list[Route]:
    """Return each next hop of the default routes with the least metric of each family. Empty if netlink fails."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    routes = []
    try:
        with IPRoute() as netlink:
            for domain in (socket.AF_INET, socket.AF_INET6):
                found = [
                    route
                    for route in netlink.get_default_routes(family=domain)
                    if route.get_attr("RTA_OIF") or route.get_attr("RTA_MULTIPATH")  # else it rejects packets
                ]
                for hop in _next_hops(min(found, key=lambda route: route.get_attr("RTA_PRIORITY") or 0, default=None)):
                    routes.append(Route(device_name(hop[0]), hop[1], ""))
    except (NetlinkError, OSError):
        return []
    return routes


def _next_hops(route: Any) -> list[tuple[int, str]]:
    """Return interface and gateway of each next hop of `route`; none for None."""
    if route is None:
        return []
    several = route.get_attr("RTA_MULTIPATH") or ()
    return [(hop["oif"], _gateway(hop)) for hop in several] or [(route.get_attr("RTA_OIF"), _gateway(route))]


def _destination(address: Address) -> dict[str, Any]:
    """Return the attributes of a question for the route to `address`. A link-local address has its interface."""
    plain, interface = str(address).partition("%")[0], interface_of(address)
    return {"dst": plain, "oif": interface} if interface else {"dst": plain}


def _gateway(route: Any) -> str:
    """Return the next hop. RTA_VIA holds a next hop of the other address family (RFC 5549), as {family, addr}."""
    via = route.get_attr("RTA_VIA")
    return str(route.get_attr("RTA_GATEWAY") or (via["addr"] if via else ""))


def _no_route(address: Address, number: int) -> RouteError:
    return RouteError(
        f"no route to {address}: {os.strerror(number)}. Look at `ip route get {address}`, and at the device's link"
    )
