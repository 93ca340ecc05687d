"""The network interfaces of this namespace, and that of a link-local address."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

from monlat_ebpf.model import Address

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""As Python's sockets take an IPv4 or IPv6 address: host and port; for IPv6 flow label and interface as well."""


def device_name(index: int) -> str:
    """Return the name of an interface of this namespace, "" when no interface has that index (any more)."""
    if index == 0:
        return ""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


def interface_of(address: Address) -> int:
    """Return the index of the interface in a link-local address (`fe80::1%eth0`, `fe80::1%2`); 0 without one.

    Raises OSError when no interface has that name.
    """
    if isinstance(address, IPv4Address) or (scope := address.scope_id) is None:
        return 0
    return int(scope) if scope.isdigit() else socket.if_nametoindex(scope)


def socket_address(address: Address, port: int = 0) -> SocketAddress:
    """Return `address` as a socket takes it: the interface is a number of its own. Raises OSError as interface_of."""
    if interface := interface_of(address):
        return str(address).partition("%")[0], port, 0, interface
    return str(address), port
