"""Whether an address is this host's own."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from monlat_ebpf.model import Address

_ANY_PORT = 9  # discard; nothing is sent


def is_local(address: Address) -> bool:
    """Return whether `address` belongs to this host (and network namespace).

    The kernel answers: a packet to an own address has that address for its source as well. Nothing is sent.
    """
    domain = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(domain, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), _ANY_PORT))
            return ip_address(probe.getsockname()[0]) == address
    except OSError:
        return False  # no route, hence not ours
