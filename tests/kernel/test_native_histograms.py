"""Debian's Prometheus stores the native histograms of the protobuf format, and answers quantiles from them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from ipaddress import IPv4Address
from itertools import accumulate
from pathlib import Path
from random import Random

import pytest

from monlat_ebpf.exposition.http import MetricsServer
from monlat_ebpf.exposition.routes import agent_routes
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.model import AgentSnapshot, Family, PairReading, PeerKind
from monlat_ebpf.testbed.namespace import Namespace
from monlat_ebpf.testbed.network import Cluster
from testkit.links import Links
from testkit.waiting import wait_until
from tests.kernel.agents import PORT, RunningAgent, entry
from tests.kernel.prometheus_server import Prometheus
from tests.unit.prometheus_messages import bucket_counts, families, labels_of

Q = 0.99
NATIVE = f"histogram_quantile({Q}, rate(monlat_rtt_seconds[10m]))"
"""10 minutes: on a slow machine, the first scrapes of a test must not leave the window before the last query."""
CLASSIC = f"histogram_quantile({Q}, sum by (le,from,to)(rate(monlat_rtt_seconds_bucket[10m])))"
SENT = "monlat_probes_sent_total"
ACCEPT = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
NODES = ("node1", "node2", "node3")
PAIRS = {(one, other) for one in NODES for other in NODES if one != other}

Buckets = Mapping[int, int]
"""Counts by index of schema 3: bucket i ends at 2^(i/8) seconds."""


def bucket_of(seconds: float) -> int:
    return math.ceil(8 * math.log2(seconds))


def octave_of(seconds: float) -> int:
    return math.ceil(math.log2(seconds))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(len(NODES)) as built:
        with Links(built.switch) as links:
            links.add_address("bridge", "10.77.0.100/24")
        yield built


# Pairs of our own making: every count is known


@dataclass
class KnownPairs:
    """Imitates an agent whose pairs have exactly these samples, in nanoseconds, by peer."""

    samples: dict[str, list[int]] = field(default_factory=dict)

    def readings(self) -> tuple[AgentSnapshot, Iterable[PairReading]]:
        agent = AgentSnapshot("node1", "", "tracepoint", "", 1.0, 1.0)
        return agent, [self._reading(peer, samples) for peer, samples in sorted(self.samples.items())]

    def _reading(self, peer: str, samples: list[int]) -> PairReading:
        buckets = [0] * 186
        for sample in samples:
            buckets[bucket_of(sample / 1e9) + 160] += 1
        memory = struct.pack("<QQ186I", len(samples), sum(samples), *buckets)
        results = (len(samples), 0, 0, 0, 0, 0, 0)
        return PairReading(
            *(peer, Family.IPV4, IPv4Address("192.0.2.1"), "", PeerKind.NODE, 1_700_000_000, 0),
            *(len(samples), results, 0, samples[-1], min(samples), memory + bytes(16), memory + memory),
        )

    def server(self, namespace: Namespace) -> MetricsServer:
        routes = agent_routes(lambda _: self.readings()[0], self.readings, lambda: None, lambda: None, SelfMetrics())
        with namespace.entered():
            return MetricsServer([("127.0.0.1", PORT)], routes)


def samples_around(random: Random, microseconds: float, spread: float, count: int) -> list[int]:
    return [int(microseconds * 1e3 * random.lognormvariate(0, spread)) for _ in range(count)]


def nearest_rank(samples: list[int], q: float) -> float:
    """The q-quantile in seconds: the least sample that at least the part q does not exceed."""
    return sorted(samples)[math.ceil(q * len(samples)) - 1] / 1e9


def test_quantiles_of_known_samples(cluster: Cluster, tmp_path: Path) -> None:
    """What was added between scrapes has the quantile that sorting it gives: within a bucket from the native
    histogram, within an octave from the classic one. A pair that is gone is gone with the next scrape.

    Two Prometheis scrape the same agent: one asks for protobuf, the other for text.
    """
    random = Random(20261130)
    base = {f"peer{n}": samples_around(random, 20 * 7**n, 0.3, 211) for n in range(6)}  # 20 us to 0.3 s
    added = {peer: samples_around(random, 30 * 7**n, 0.4, 503) for n, peer in enumerate(base)}
    pairs = KnownPairs(dict(base))
    targets = [f"127.0.0.1:{PORT}"]
    with (
        pairs.server(cluster.switch),
        Prometheus(cluster.switch, tmp_path, targets, port=9091, native_histograms=True) as native,
        Prometheus(cluster.switch, tmp_path, targets, port=9092) as classic,
    ):
        for each in (native, classic):
            wait_until(lambda each=each: len(each.query(SENT)) == 6, seconds=60)  # type: ignore[misc]
        pairs.samples = {peer: base[peer] + added[peer] for peer in base}
        for each in (native, classic):
            wait_until(lambda each=each: set(each.query(SENT).values()) == {211 + 503}, seconds=60)  # type: ignore[misc]
        from_native, from_classic = native.query(NATIVE), classic.query(CLASSIC)
        assert native.query("histogram_count(monlat_rtt_seconds)").keys() == from_native.keys()
        assert native.query("monlat_rtt_seconds_bucket") == classic.query("histogram_count(monlat_rtt_seconds)") == {}
        del pairs.samples["peer5"]
        for each, query in ((native, "histogram_count(monlat_rtt_seconds)"), (classic, "monlat_rtt_seconds_count")):
            wait_until(lambda each=each, query=query: len(each.query(query)) == 5, seconds=60)  # type: ignore[misc]
    assert from_native.keys() == from_classic.keys() == {("node1", peer) for peer in base}
    for peer, samples in added.items():
        exact = nearest_rank(samples, Q)
        assert abs(bucket_of(from_native["node1", peer]) - bucket_of(exact)) <= 1, peer
        assert abs(octave_of(from_classic["node1", peer]) - octave_of(exact)) <= 1, peer
        assert abs(octave_of(from_classic["node1", peer]) - octave_of(from_native["node1", peer])) <= 1, peer


# Real agents


@pytest.fixture(scope="module")
def agents(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningAgent]]:
    directory = tmp_path_factory.mktemp("agents")
    peers = [entry(node.name, node.ipv4) for node in cluster]
    with ExitStack() as stack:
        yield [
            stack.enter_context(RunningAgent(node.namespace, directory, peers, node=node.name, interval="50ms"))
            for node in cluster
        ]


def kernel_buckets(agents: list[RunningAgent]) -> dict[tuple[str, str], Buckets]:
    """Return the buckets of every pair, as Google's library decodes what the agents serve."""
    found: dict[tuple[str, str], Buckets] = {}
    for agent in agents:
        connection = HTTPConnection("127.0.0.1", PORT, timeout=20)
        with agent.namespace.entered():
            connection.connect()
        connection.request("GET", "/metrics", headers={"Accept": ACCEPT})
        body = connection.getresponse().read()
        connection.close()
        (rtt,) = (family for family in families(body) if family.name == "monlat_rtt_seconds")
        for metric in rtt.metric:
            labels = labels_of(metric)
            zero = {-160: metric.histogram.zero_count}
            found[labels["from"], labels["to"]] = {**zero, **bucket_counts(metric.histogram)}
    return found


def grown(later: Buckets, earlier: Buckets) -> list[int]:
    """Return by how much each bucket grew, from the shortest time on."""
    return [later.get(index, 0) - earlier.get(index, 0) for index in range(-160, 26)]


def possible_buckets(least: list[int], most: list[int], q: float) -> range:
    """Return in which buckets the q-quantile can be of counts that are, in each bucket, between `least` and `most`."""
    total = sum(least)
    up_to = list(accumulate(most))
    first = next(bucket for bucket, count in enumerate(up_to) if count >= q * total)
    last = next(bucket for bucket, count in enumerate(up_to) if up_to[-1] - count <= (1 - q) * total)
    return range(first - 160, last - 160 + 1)


def test_every_pair_has_the_quantile_of_the_kernels_buckets(
    cluster: Cluster, agents: list[RunningAgent], tmp_path: Path
) -> None:
    """p99 of all 6 pairs, from what the buckets grew by between the first scrape and the last one.

    Probing goes on, so these two scrapes are enclosed by four of the test's own.
    """
    with ExitStack() as stack:
        before_first = kernel_buckets(agents)
        prometheus = stack.enter_context(
            Prometheus(cluster.switch, tmp_path, [f"{node.ipv4}:{PORT}" for node in cluster], native_histograms=True)
        )
        wait_until(lambda: prometheus.query(SENT).keys() == PAIRS, seconds=60)
        after_first = kernel_buckets(agents)
        wait_until(
            lambda: all(
                sum(grown(buckets, after_first[nodes])) >= 307 for nodes, buckets in kernel_buckets(agents).items()
            ),
            seconds=60,
        )
        before_last = kernel_buckets(agents)
        scrapes = prometheus.query(f"count_over_time({SENT}[10m])")
        wait_until(
            lambda: all(
                count >= scrapes[nodes] + 2
                for nodes, count in prometheus.query(f"count_over_time({SENT}[10m])").items()
            ),
            seconds=60,
        )
        p99, last_minute = prometheus.query(NATIVE), prometheus.query(NATIVE.replace("10m", "1m"))
        after_last = kernel_buckets(agents)
    assert p99.keys() == last_minute.keys() == before_first.keys() == PAIRS
    for nodes, seconds in p99.items():
        possible = possible_buckets(
            grown(before_last[nodes], after_first[nodes]), grown(after_last[nodes], before_first[nodes]), Q
        )
        assert possible.start - 1 <= bucket_of(seconds) <= possible.stop, (nodes, seconds)
