"""The network interfaces of this namespace."""

from __future__ import annotations

import socket


def device_name(index: int) -> str:
    """Return the name of an interface of this namespace, "" when no interface has that index (any more)."""
    if index == 0:
        return ""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""
