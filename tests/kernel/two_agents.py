"""Two probers that probe each other, each with a kernel program of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import Peer
from monlat_ebpf.testbed.network import Node
from tests.kernel.measuring import Measurement

FOR_EVER = 10**9


def as_peer(node: Node) -> Peer:
    return Peer(node.name, (ip_address(node.ipv4), ip_address(node.ipv6)))


@contextmanager
def two_agents(
    near: Node,
    far: Node,
    *,
    probes: int,
    interval_seconds: float = 0.02,
    near_clock: WallClock | None = None,
    far_clock: WallClock | None = None,
) -> Iterator[tuple[Measurement, Measurement]]:
    """Let both probe each other over IPv4 and IPv6: the near one `probes` times each, the far one until the end."""
    with (
        Measurement(
            far.namespace, [as_peer(near)], probes=FOR_EVER, interval_seconds=interval_seconds, wall_clock=far_clock
        ) as far_agent,
        Measurement(
            near.namespace, [as_peer(far)], probes=probes, interval_seconds=interval_seconds, wall_clock=near_clock
        ) as near_agent,
    ):
        yield near_agent, far_agent
