"""Whether an address belongs to this host, and the kernel's route to an address.

With testbed/links.py the only importer of pyroute2.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from monlat_ebpf.errors import RouteError
from monlat_ebpf.model import Address

_ANY_PORT = 9  # discard; nothing is sent


def is_local(address: Address) -> bool:
    """Return whether `address` belongs to this host (in the current network namespace).

    Ask the kernel for the source address of packets to it: that is the address itself only if it is local.
    """
    domain = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(domain, socket.SOCK_DGRAM) as sock:
            sock.connect((str(address), _ANY_PORT))
            return ip_address(sock.getsockname()[0]) == address
    except OSError:
        return False  # no route: a local address always has one


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
    # Imported here because it costs 20 MB, and only `explain` needs it.
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as netlink:
            (found,) = netlink.route("get", dst=str(address))
            (link,) = netlink.link("get", index=found.get_attr("RTA_OIF"))
    except NetlinkError as error:
        raise _no_route(address, error.code) from error
    except OSError as error:
        raise _no_route(address, error.errno or 0) from error
    return Route(link.get_attr("IFLA_IFNAME"), _gateway(found), found.get_attr("RTA_PREFSRC") or "")


def _gateway(route: Any) -> str:
    """Return the next hop. RTA_VIA holds a next hop of the other address family (RFC 5549), as {family, addr}."""
    via = route.get_attr("RTA_VIA")
    return str(route.get_attr("RTA_GATEWAY") or (via["addr"] if via else ""))


def _no_route(address: Address, number: int) -> RouteError:
    return RouteError(
        f"no route to {address}: {os.strerror(number)}. Look at `ip route get {address}`, and at the device's link"
    )
