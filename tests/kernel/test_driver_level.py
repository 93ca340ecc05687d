"""The RTT begins where the packet leaves this node's queueing discipline: a full queue is send delay, not RTT."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from statistics import median

import pytest

from bench.report import quantile
from monlat_ebpf.model import Peer, Result
from monlat_ebpf.testbed.network import Node
from testkit.links import Links
from testkit.pair import Pair
from tests.kernel.measuring import Measurement

PROBES = 211
INTERVAL_SECONDS = 0.03
MILLISECOND = 1_000_000
FRAME_BYTES = 98  # of every packet here, a probe's own size: so the queue refuses probe and flood alike
BITS_PER_SECOND = 2_000_000  # 2,551 frames a second
QUEUE_BYTES = 20_000  # 80 ms at that rate
FLOOD_FRAMES_PER_SECOND = 3_300  # three in four find room
MISSED_BY_HOOKS = 0.03
"""Where the machine's own monitor (here the threads of process 1) is inside the kernel, for up to 15 ms about once a
second, the kernel runs no tracing program on that processor: seen with an XDP program beside, every packet without a
stamp was sent by a softirq that had interrupted that process. Such a probe is a reply without an RTT, or lost on the
host; on a machine without such a monitor there is none."""
RTT = re.compile(r"time=(\S+) ms")

FLOOD = """
import socket, sys, time
peer, rate, payload = sys.argv[1], int(sys.argv[2]), bytes(int(sys.argv[3]))
family = socket.AF_INET6 if ":" in peer else socket.AF_INET
sender = socket.socket(family, socket.SOCK_DGRAM)
sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_000_000)
sender.connect((peer, 9))
start, sent = time.monotonic(), 0
while True:
    due = int((time.monotonic() - start) * rate)
    while sent < due:
        try:
            sender.send(payload)
        except OSError:  # "refused": nobody listens there, and that is right
            pass
        sent += 1
    time.sleep(0.001)
"""


@contextmanager
def filled_queue(node: Node, address: str) -> Iterator[None]:
    """Put a slow queue before the node's device and keep it full with packets of a probe's size."""
    headers = 14 + (40 if ":" in address else 20) + 8
    command = [sys.executable, "-c", FLOOD, address, str(FLOOD_FRAMES_PER_SECOND), str(FRAME_BYTES - headers)]
    with Links(node.namespace) as links:
        links.add_token_bucket(node.device, BITS_PER_SECOND, burst_bytes=2_000, queue_bytes=QUEUE_BYTES)
    flood = node.namespace.popen(command)
    try:
        wait_until_full(node, address)
        yield
    finally:
        flood.kill()
        flood.wait()


def wait_until_full(node: Node, address: str) -> None:
    for _ in range(200):
        done = node.namespace.run(["ping", "-n", "-c", "1", "-W", "1", address])
        if any(float(ms) > 50 for ms in RTT.findall(done.stdout)):
            return
    raise AssertionError("the queue never fills")


@pytest.mark.parametrize(("family", "dropped"), [("ipv4", Result.LOST_HOST), ("ipv6", Result.SEND_ERROR)])
def test_full_queue_is_send_delay_and_not_rtt(family: str, dropped: Result) -> None:
    """Behind 80 ms of queue ping sees over 50 ms, 211 probes an RTT under 1 ms; what it drops is not the network's.

    The kernel keeps such a drop from a raw IPv4 socket and tells a raw IPv6 socket of it, with ENOBUFS.
    """
    with Pair() as (here, there):
        address = getattr(there, family)
        peers = [Peer(there.name, (ip_address(address),))]
        with (
            filled_queue(here, address),
            Measurement(
                here.namespace, peers, probes=PROBES, interval_seconds=INTERVAL_SECONDS, timeout_seconds=0.4
            ) as measurement,
        ):
            ping = ["ping", "-n", "-i", str(INTERVAL_SECONDS), "-c", str(PROBES), "-W", "1", address]
            seen_by_ping = here.namespace.run(ping).stdout
            outcomes = list(measurement.wait().values())
    ping_ns = median(float(milliseconds) * MILLISECOND for milliseconds in RTT.findall(seen_by_ping))
    replies = [outcome for outcome in outcomes if outcome.result is Result.REPLY]
    rtts = [outcome.rtt_ns for outcome in replies if outcome.rtt_ns is not None]
    delays = [outcome.send_delay_ns for outcome in replies if outcome.send_delay_ns is not None]
    results = measurement.results()

    assert ping_ns > 50 * MILLISECOND
    assert len(outcomes) == PROBES
    assert set(results) <= {Result.REPLY, Result.LOST_HOST, dropped}
    assert results[dropped] > 0
    assert dropped is Result.LOST_HOST or results[Result.LOST_HOST] <= MISSED_BY_HOOKS * PROBES
    assert set(measurement.prober.errors()) == ({"ENOBUFS"} if dropped is Result.SEND_ERROR else set())
    assert len(replies) > PROBES / 2
    assert len(rtts) == len(delays) >= (1 - MISSED_BY_HOOKS) * len(replies)
    assert quantile(rtts, 0.99) < 1 * MILLISECOND
    assert 0.5 < (median(delays) + median(rtts)) / ping_ns < 2
