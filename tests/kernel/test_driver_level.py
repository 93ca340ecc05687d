"""The RTT begins where the packet leaves this node's queueing discipline: a full queue is send delay, not RTT."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from statistics import median

import pytest

from monlat_ebpf.model import Peer, Result
from monlat_ebpf.testbed.network import Node
from testkit.links import Links
from testkit.pair import Pair
from testkit.waiting import wait_until
from tests.kernel.full_queue import write_arp_entries
from tests.kernel.measuring import Measurement

PROBES = 101
INTERVAL_SECONDS = 0.06
TIMEOUT_SECONDS = 0.9  # ten times what the queue takes
MILLISECOND = 1_000_000
FRAME_BYTES = 98  # of every packet here, a probe's own size: so the queue refuses probe and flood alike
BITS_PER_SECOND = 2_000_000  # 2,551 frames a second
QUEUE_BYTES = 20_000  # 80 ms at that rate
FLOOD_FRAMES_PER_SECOND = 3_300  # three in four find room
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
        except OSError:  # "connection refused": nobody listens there
            pass
        sent += 1
    time.sleep(0.001)
"""


@contextmanager
def filled_queue(here: Node, there: Node, address: str) -> Iterator[None]:
    """Put a slow queue before the device of `here` and keep it full with packets of a probe's size."""
    headers = 14 + (40 if ":" in address else 20) + 8
    command = [sys.executable, "-c", FLOOD, address, str(FLOOD_FRAMES_PER_SECOND), str(FRAME_BYTES - headers)]
    write_arp_entries(here, there)
    with Links(here.namespace) as links:
        links.add_token_bucket(here.device, BITS_PER_SECOND, burst_bytes=2_000, queue_bytes=QUEUE_BYTES)

    def is_full() -> bool:
        done = here.namespace.run(["ping", "-n", "-c", "1", "-W", "1", address])
        return any(float(milliseconds) > 50 for milliseconds in RTT.findall(done.stdout))

    flood = here.namespace.popen(command)
    try:
        wait_until(is_full, "the queue does not fill")
        yield
    finally:
        flood.kill()
        flood.wait()


@pytest.mark.parametrize(("family", "dropped"), [("ipv4", Result.LOST_HOST), ("ipv6", Result.SEND_ERROR)])
def test_full_queue_is_send_delay_and_not_rtt(family: str, dropped: Result) -> None:
    """Behind 80 ms of queue the median RTT is under a tenth of ping's, and a drop there is no loss of the network.

    The kernel hides such a drop from a raw IPv4 socket. It reports it to a raw IPv6 socket, with ENOBUFS. On some
    machines the kernel runs no tracing program for moments of up to 15 ms: a probe is then lost on the host, or is a
    reply without an RTT. So the test asks for half of the RTTs, not for all.
    """
    with Pair() as (here, there):
        address = getattr(there, family)
        peers = [Peer(there.name, (ip_address(address),))]
        with (
            filled_queue(here, there, address),
            Measurement(
                here.namespace,
                peers,
                probes=PROBES,
                interval_seconds=INTERVAL_SECONDS,
                timeout_seconds=TIMEOUT_SECONDS,
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

    assert len(outcomes) == PROBES
    assert set(results) <= {Result.REPLY, Result.LOST_HOST, dropped}
    assert results[dropped] > 0
    assert set(measurement.prober.errors()) == ({"ENOBUFS"} if dropped is Result.SEND_ERROR else set())
    assert len(replies) > PROBES / 3
    assert len(rtts) == len(delays) > len(replies) / 2
    assert median(rtts) < ping_ns / 10
    assert 0.5 < (median(delays) + median(rtts)) / ping_ns < 2
