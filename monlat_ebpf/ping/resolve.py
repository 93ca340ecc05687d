"""The address of a host, from its name or from the address itself."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Final

from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Address, Family

_DOMAIN: Final = {None: socket.AF_UNSPEC, Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}


def resolve(host: str, family: Family | None = None) -> Address:
    """Return the first address of `host` that getaddrinfo(3) gives, or the first of `family`.

    A link-local IPv6 address keeps its interface. Raises ConfigError when there is none.
    """
    try:
        found = socket.getaddrinfo(host, None, _DOMAIN[family], socket.SOCK_DGRAM)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"host {host!r} has no {_kind(family)}: {_reason(error)}") from error
    address, _, *rest = found[0][4]
    scope = rest[1] if len(rest) == 2 else 0
    return ip_address(f"{address}%{scope}" if scope else str(address))


def _kind(family: Family | None) -> str:
    return {None: "address", Family.IPV4: "IPv4 address", Family.IPV6: "IPv6 address"}[family]


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "not a valid host name"
    return error.strerror or str(error)
