"""The kernel's route to an address: the front door to pyroute2 outside of the test bed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from monlat_ebpf.errors import RouteError
from monlat_ebpf.model import Address


@dataclass(frozen=True, slots=True)
class Route:
    """How packets to an address leave this network namespace; `gateway` and `source` are "" when there is none."""

    device: str
    gateway: str
    source: str

    def __str__(self) -> str:
        """Write it as ip-route(8) does."""
        gateway = f"via {self.gateway} " if self.gateway else ""
        source = f" src {self.source}" if self.source else ""
        return f"{gateway}dev {self.device}{source}"


def route_to(address: Address) -> Route:
    """Return the route to `address`. Raises RouteError when the kernel has none."""
    # Imported here: of all commands only `explain` needs it.
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
    """Return the next hop; that of the other family (RFC 5549) is kept apart, as {family, addr}."""
    via = route.get_attr("RTA_VIA")
    return str(route.get_attr("RTA_GATEWAY") or (via["addr"] if via else ""))


def _no_route(address: Address, number: int) -> RouteError:
    return RouteError(
        f"no route to {address}: {os.strerror(number)}. Look at `ip route get {address}`, and at the device's link"
    )
