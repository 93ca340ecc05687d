"""What an agent costs the traffic of others: iperf3 between two namespaces that have nothing to do with it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.many_peers import bed_of_peers, running_agent
from monlat_ebpf.testbed.network import Node
from testkit.pair import Pair
from testkit.waiting import wait_until

_PORT = 5201
_SMALL_BYTES = 64  # of UDP payload


@dataclass(frozen=True)
class Rates:
    """Bits a second of one TCP connection, and small UDP packets a second.

    TCP's congestion control is Reno, which every kernel has: BBR would pace instead of using up the processor. UDP
    packets count when they are sent. On a veth wire the sender's core takes them up to the receiver's socket, so this
    is the rate of the whole way; a receiver that comes too late only changes what it loses.
    """

    tcp: float
    udp: float


@dataclass(frozen=True)
class Comparison:
    """Rates in rounds, without and with an agent, next to each other in time."""

    without: list[Rates]
    beside: list[Rates]

    def ratios(self, rate: Callable[[Rates], float]) -> list[float]:
        """Return the rate with an agent as a multiple of that without, for each round."""
        return [rate(one) / rate(other) for one, other in zip(self.beside, self.without, strict=True)]


def compare(peers: int, rounds: int, seconds: int) -> Comparison:
    """Measure `seconds` of each kind of traffic in each round, without and with an agent that probes `peers` peers.

    Every second round begins with the agent.
    """
    found: dict[bool, list[Rates]] = {False: [], True: []}
    with Pair() as (client, server), _serving(server), bed_of_peers() as bed:
        for number in range(rounds):
            for has_agent in (False, True) if number % 2 == 0 else (True, False):
                if not has_agent:
                    found[False].append(_rates(client, server, seconds))
                    continue
                before = bed.echoes()
                with running_agent(bed.here, peers):
                    wait_until(lambda: bed.echoes() - before >= 2 * peers, "the agent does not probe")  # noqa: B023
                    found[True].append(_rates(client, server, seconds))
    return Comparison(found[False], found[True])


def _rates(client: Node, server: Node, seconds: int) -> Rates:
    small = ("--udp", "--bitrate", "0", "--length", str(_SMALL_BYTES))
    tcp = _iperf3(client, server, seconds, "sum_received", "--congestion", "reno")
    udp = _iperf3(client, server, seconds, "sum_sent", *small)
    return Rates(tcp["bits_per_second"], udp["packets"] / udp["seconds"])


@contextmanager
def _serving(node: Node) -> Iterator[None]:
    command = ["iperf3", "--server", "--bind", node.ipv4]
    server = node.namespace.popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_until(partial(_is_listening, node), "iperf3 does not listen")
        yield
    finally:
        server.kill()
        server.wait()


def _is_listening(node: Node) -> bool:
    return bool(node.namespace.run(["ss", "-Hltn", "sport", "=", f":{_PORT}"]).stdout)


def _iperf3(client: Node, server: Node, seconds: int, total: str, *options: str) -> Any:
    """Return a total from the end of iperf3's JSON. Raises TimeoutError when iperf3 fails for a minute.

    The server refuses a client that comes while it still ends the one before. Then there is no total.
    """
    command = ["iperf3", "--json", "--client", server.ipv4, "--time", str(seconds), *options]
    totals: list[Any] = []

    def has_run() -> bool:
        done = client.namespace.run(command, timeout=60 + seconds)
        if done.returncode == 0:
            totals.extend(found for name, found in json.loads(done.stdout)["end"].items() if name == total)
        return bool(totals)

    wait_until(has_run, "iperf3 fails")
    return totals[0]
