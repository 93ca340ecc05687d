"""What an agent answers on each path, over HTTP."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from urllib.parse import quote

import pytest

from monlat_ebpf.exposition.http import MetricsServer
from monlat_ebpf.exposition.routes import agent_routes
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.model import AgentSnapshot, Family, PairReading, RecentProbe, Result
from tests.unit import snapshots
from tests.unit.prometheus_messages import families

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
PROTOBUF_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
GOLDEN = Path(__file__).parent / "golden" / "metrics.txt"


class SmallAgent:
    """Imitates the agent: callables whose answers a test may change, and a count of snapshots."""

    def __init__(self) -> None:
        self.unhealthy: str | None = None
        self.unready: str | None = None
        self.taken = 0

    def snapshot(self, _peer: str | None) -> AgentSnapshot:
        self.taken += 1
        return snapshots.SMALL_CLUSTER

    def readings(self) -> tuple[AgentSnapshot, Iterable[PairReading]]:
        snapshot = self.snapshot(None)
        return snapshot, map(snapshots.reading, snapshot.pairs)

    def recent(self, peer: str) -> dict[Family, list[RecentProbe]]:
        assert peer in ("node2", "nobody", snapshots.ODD_NAME)
        probe = RecentProbe(
            3, Result.REPLY, 1_700_000_000_500_000_000, 80_000, 436_000, 372_000, forward_ns=20_500, return_ns=43_500
        )
        return {Family.IPV4: [probe]} if peer == "node2" else {}

    def server(self) -> MetricsServer:
        metrics = SelfMetrics()
        routes = agent_routes(
            self.snapshot, self.readings, lambda: self.unhealthy, lambda: self.unready, metrics, self.recent
        )
        return MetricsServer([("127.0.0.1", 0)], routes, count_error=metrics.count_http_error)


@pytest.fixture
def agent() -> SmallAgent:
    return SmallAgent()


@pytest.fixture
def connection(agent: SmallAgent) -> Iterator[HTTPConnection]:
    with (
        agent.server() as server,
        closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection,
    ):
        yield connection


def get(connection: HTTPConnection, path: str, accept: str = "") -> tuple[int, bytes, HTTPMessage]:
    connection.request("GET", path, headers={"Accept": accept})
    with connection.getresponse() as answer:
        return answer.status, answer.read(), answer.headers


def test_metrics_show_one_snapshot_and_the_agent_itself(agent: SmallAgent, connection: HTTPConnection) -> None:
    """/metrics is the text of a single reading, followed by the agent's metrics about itself."""
    status, body, headers = get(connection, "/metrics")
    text = body.decode()
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert text.startswith(GOLDEN.read_text(encoding="utf-8").partition("# HELP monlat_peer_device_info")[0])
    assert "\nmonlat_schedule_lag_seconds_count 0.0\n" in text
    assert "\nprocess_resident_memory_bytes " in text
    assert agent.taken == 1


@pytest.mark.parametrize("accept", ["", PROTOBUF, "application/openmetrics-text;version=1.0.0"])
def test_compressed_metrics_are_the_same(accept: str, connection: HTTPConnection) -> None:
    """With and without gzip the document of a format is as long, and gzip finds no wrong checksum."""
    connection.request("GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": "gzip"})
    with connection.getresponse() as answer:
        compressed, encoding = answer.read(), answer.headers["Content-Encoding"]
    assert encoding == "gzip"
    own = b"monlat_schedule_lag_seconds"  # from here on values change with time
    plain = get(connection, "/metrics", accept)[1]
    assert gzip.decompress(compressed).partition(own)[0] == plain.partition(own)[0]
    assert len(plain.partition(own)[0]) > 4_000


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (f"{PROTOBUF},text/plain;version=0.0.4;q=0.5", PROTOBUF_TYPE),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text; version=1.0.0"),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.5", "text/plain; version=0.0.4"),
        ("text/html", "text/plain; version=0.0.4"),
    ],
)
def test_metrics_are_in_the_format_that_the_scraper_prefers(
    accept: str, content_type: str, connection: HTTPConnection
) -> None:
    """Protobuf, OpenMetrics 1.0 or text, by the Accept header; text for one that names none of them."""
    assert get(connection, "/metrics", accept)[2]["Content-Type"].startswith(content_type)


@pytest.mark.parametrize(
    ("query", "buckets"), [("", 0), ("?classic=true", 24), ("?classic=false", 0), ("?classic=false&classic=true", 24)]
)
def test_classic_buckets_are_asked_for_by_the_query(query: str, buckets: int, connection: HTTPConnection) -> None:
    """Where protobuf is served; Prometheus sends the query by `params`. Text has classic histograms anyway."""
    body = get(connection, f"/metrics{query}", PROTOBUF)[1]
    (rtt,) = (family for family in families(body) if family.name == "monlat_rtt_seconds")
    assert {len(metric.histogram.bucket) for metric in rtt.metric} == {buckets}
    assert get(connection, f"/metrics{query}")[2]["Content-Type"].startswith("text/plain")


def test_peers_are_json(connection: HTTPConnection) -> None:
    """/api/v1/peers is the JSON of all pairs."""
    status, body, headers = get(connection, "/api/v1/peers")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert [pair["to"] for pair in json.loads(body)["pairs"]][:3] == ["node2", "node2", "node3"]


def test_one_peer_is_shown_with_its_last_probes(connection: HTTPConnection) -> None:
    """?peer=NAME returns the pairs to that peer, each with the probes of its family; the name is decoded."""
    status, body, headers = get(connection, "/api/v1/peers?peer=node2")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    document = json.loads(body)
    assert document["node"] == "node1"
    assert [(pair["to"], pair["family"]) for pair in document["pairs"]] == [("node2", "ipv4"), ("node2", "ipv6")]
    assert document["pairs"][0]["probes"] == [
        {
            "sequence": 3,
            "result": "reply",
            "sent_unix_seconds": 1_700_000_000.5,
            "send_delay_seconds": 80e-6,
            "rtt_seconds": 436e-6,
            "peer_dwell_seconds": 372e-6,
            "network_rtt_seconds": 64e-6,
            "forward_seconds": 20.5e-6,
            "return_seconds": 43.5e-6,
        }
    ]
    assert document["pairs"][1]["probes"] == []
    odd = json.loads(get(connection, f"/api/v1/peers?peer={quote(snapshots.ODD_NAME)}")[1])
    assert [pair["to"] for pair in odd["pairs"]] == [snapshots.ODD_NAME]


def test_unknown_peer_has_no_pairs(connection: HTTPConnection) -> None:
    """?peer= with an unknown name returns an empty list and status 200."""
    status, body, _ = get(connection, "/api/v1/peers?peer=nobody")
    assert (status, json.loads(body)["pairs"]) == (200, [])


def test_health_and_readiness_are_separate(agent: SmallAgent, connection: HTTPConnection) -> None:
    """Each check is 200 when its callable returns None, and 503 with the reason otherwise."""
    agent.unready = "no peers known yet"
    assert get(connection, "/healthz")[:2] == (200, b"ok\n")
    assert get(connection, "/readyz")[:2] == (503, b"no peers known yet\n")
    agent.unready, agent.unhealthy = None, "the prober stands still"
    assert get(connection, "/healthz")[:2] == (503, b"the prober stands still\n")
    assert get(connection, "/readyz")[:2] == (200, b"ok\n")


def test_index_links_every_path(connection: HTTPConnection) -> None:
    """The page at / links to all other paths."""
    status, body, headers = get(connection, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for path in ("metrics", "api/v1/peers", "healthz", "readyz"):
        assert f'href="{path}"'.encode() in body


def test_failing_snapshot_fails_the_scrape_and_is_counted() -> None:
    """When `snapshot` raises, the scrape gets 500, and the next successful one shows the count."""

    class FailsOnce(SmallAgent):
        def snapshot(self, _peer: str | None) -> AgentSnapshot:
            if self.taken == 0:
                self.taken = 1
                raise LookupError("the arrays are gone")
            return super().snapshot(None)

    with (
        FailsOnce().server() as server,
        closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection,
    ):
        assert get(connection, "/metrics")[0] == 500
        assert b'\nmonlat_http_errors_total{kind="LookupError"} 1.0\n' in get(connection, "/metrics")[1]


def test_counts_are_added_when_a_collector_asks_for_them(connection: HTTPConnection) -> None:
    """By that parameter alone; with a peer's name, the answer is about the peer."""
    answers = [
        json.loads(get(connection, f"/api/v1/peers{query}")[1])
        for query in ("?buckets=true", "", "?buckets=1", "?buckets=true&peer=node2")
    ]
    assert ["buckets" in answer["pairs"][0] for answer in answers] == [True, False, False, False]
    assert ["schedule_lag_buckets" in answer for answer in answers] == [True, False, False, False]
