"""The ICMP identifier of this process, kept from the ping sockets of other users.

The kernel gives an echo reply to the ping socket that is bound to its identifier, whoever sent the request. Any user in
net.ipv4.ping_group_range may open and bind one, and would read the nonces and the streams of our probes: enough to send
requests that our peers take for ours.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Final

from monlat_ebpf.sources.raw_sockets import BPF_INSTRUCTION, BPF_RETURN, attach_filter, new_identifier

_LOG = logging.getLogger(__name__)
_ATTEMPTS: Final = 64
_GROUPS: Final = Path("/proc/sys/net/ipv4/ping_group_range")

EXPOSED: Final = (
    "other users of this node can read the replies to our probes, and forge requests with what they read: "
    "net.ipv4.ping_group_range allows them ping sockets, and the agent could not reserve its identifier"
)


class HeldIdentifier:
    """An identifier that no other ping socket of this network namespace can bind, of either family."""

    def __init__(self) -> None:
        self._held: socket.socket | None = None
        for _ in range(_ATTEMPTS):
            self.number = new_identifier() or 1
            try:
                self._held = _bound(self.number)
            except PermissionError:  # ping_group_range leaves us out; by the kernel's default it leaves all out
                break
            except OSError:  # another ping socket has this one
                continue
            return
        try:
            groups = _GROUPS.read_text(encoding="ascii")
        except OSError:
            return  # no /proc: nobody can tell
        if may_open_ping_sockets(groups):
            _LOG.warning("%s", EXPOSED)

    @property
    def is_held(self) -> bool:
        """Whether it is kept from others."""
        return self._held is not None

    def close(self) -> None:
        """Let others bind it."""
        if self._held is not None:
            self._held.close()


def _bound(identifier: int) -> socket.socket:
    ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
    try:
        ping.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # on by default: two sockets could share it
        attach_filter(ping, BPF_INSTRUCTION.pack(BPF_RETURN, 0, 0, 0))  # it receives nothing
        ping.bind(("0.0.0.0", identifier))
    except OSError:
        ping.close()
        raise
    return ping


def may_open_ping_sockets(groups: str) -> bool:
    """Return whether net.ipv4.ping_group_range, two group numbers, lets any group open ping sockets. Pure."""
    lowest, highest = map(int, groups.split())
    return lowest <= highest
