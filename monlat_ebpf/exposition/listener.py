"""The listening socket of the HTTP server."""

from __future__ import annotations

import errno
import socket
from typing import Final

from monlat_ebpf.errors import ConfigError

BACKLOG: Final = 4096  # connections not accepted yet; a client that finds the queue full tries again after 1 s

_ANY: Final = ("", "::")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host`, an address with or without brackets or a name, and `port`.

    `::` serves IPv4 and IPv6, and IPv4 alone on a host without IPv6. Port 0 takes a free one. Raises
    ConfigError when the address cannot be listened on.
    """
    host = host.removeprefix("[").removesuffix("]")
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not 0 <= port <= 65535:
        raise ConfigError(f"cannot listen on {shown}: a port is a number from 0 to 65535; correct --listen HOST:PORT")
    try:
        return _dual_stack(port) if host in _ANY else _single(host, port)
    except OSError as error:
        raise ConfigError(f"cannot listen on {shown}: {_why(error)}") from error


def _dual_stack(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
    return _single("0.0.0.0", port)


def _single(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}; give --listen an address of this node, or [::] for all"
    match error.errno:
        case errno.EADDRINUSE:
            return "another program has this port; end it, or choose another port with --listen HOST:PORT"
        case errno.EADDRNOTAVAIL:
            return "no interface of this node has this address; give --listen one that does, or [::] for all"
        case errno.EACCES:
            return "ports below 1024 are for root; choose another port with --listen HOST:PORT"
    return f"{error.strerror}; choose another address with --listen HOST:PORT"
