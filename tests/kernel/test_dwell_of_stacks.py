"""The dwell on a node whose wire is a port of a bridge: one sample per request, up to the last transmit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from monlat_ebpf.abi.histogram import quantile
from monlat_ebpf.model import Peer
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace
from monlat_ebpf.testbed.network import Node
from testkit.links import Links
from tests.kernel.full_queue import full_queue
from tests.kernel.measuring import Measurement
from tests.kernel.two_agents import FOR_EVER

PROBES = 47
NEAR, FAR = ("10.78.0.1", "fd78::1"), ("10.78.0.2", "fd78::2")
LENGTHS = ("24", "64")


@contextmanager
def probed_through_a_bridge(probes: int) -> Iterator[tuple[Measurement, Measurement]]:
    """Measure a node that answers through a bridge with a full queue below it; yield that node's agent and the other's.

    Requests and replies pass the hooks of both port and bridge.
    """
    with Namespace("near") as near, Namespace("far") as far, Links(near) as near_links, Links(far) as far_links:
        near_links.add_veth("wire0", far, "wire0")
        far_links.add_bridge("br0")
        far_links.set_master("wire0", "br0")
        for links, name, addresses in ((near_links, "wire0", NEAR), (far_links, "br0", FAR)):
            links.set_up("wire0")
            links.set_up(name)
            for address, length in zip(addresses, LENGTHS, strict=True):
                links.add_address(name, f"{address}/{length}")
        for links, name, addresses in ((near_links, "wire0", NEAR), (far_links, "br0", FAR)):
            links.wait_until_usable(name, addresses)
        near_peer, far_peer = (
            Peer(name, tuple(map(ip_address, addresses))) for name, addresses in (("near", NEAR), ("far", FAR))
        )
        queue = full_queue(Node("far", far, *FAR, device="wire0"), Node("near", near, *NEAR, device="wire0"))
        with (
            queue,
            Measurement(far, [near_peer], probes=FOR_EVER, interval_seconds=0.04) as responder,
            Measurement(near, [far_peer], probes=probes, interval_seconds=0.04) as requester,
        ):
            yield responder, requester


def test_dwell_through_a_bridge_ends_at_the_wire() -> None:
    """47 requests of each family make a dwell each, which includes the queue of the port.

    The first receive and the last transmit count, so the median dwell is over 10 ms; until the transmit of the bridge
    it would be about 30 us. On some machines the kernel runs no tracing program for moments of up to 15 ms. So half of
    the dwells are enough.
    """
    with probed_through_a_bridge(PROBES) as (responder, requester):
        requester.wait()
        sent = [pair.sent for pair in requester.pairs()]
        dwells = [pair.dwell for pair in responder.pairs() if pair.dwell is not None]
    assert len(dwells) == len(sent) == 2
    assert all(count / 2 < dwell.count <= count for dwell, count in zip(dwells, sent, strict=True))
    assert all((quantile(dwell, 0.5) or 0) > 0.01 for dwell in dwells)


def test_no_bucket_sum_or_count_of_the_dwell_ever_falls() -> None:
    """While each reply waits in the queue below the bridge, the histograms are read as often as is possible."""
    with probed_through_a_bridge(FOR_EVER) as (responder, _):
        assert isinstance(responder.source, TracepointSource)
        sessions = responder.source.sessions
        before = [sessions.dwell(target) for target in range(2)]
        while min(dwell.count for dwell in before) < PROBES:
            now = [sessions.dwell(target) for target in range(2)]
            for earlier, later in zip(before, now, strict=True):
                assert later.sum_ns >= earlier.sum_ns
                assert later.count >= earlier.count
                assert all(b >= a for a, b in zip(earlier.buckets, later.buckets, strict=True))
            before = now
