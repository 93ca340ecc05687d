"""Kubernetes discovery with a failing API server: each fault once."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from monlat_ebpf.config import Timing
from testkit.api_exchange import Answer, Exchange, honest
from testkit.api_faults import (
    BROKEN,
    GONE,
    HALF_EVENT,
    body,
    close_at_once,
    drop,
    endless_pages,
    hang,
    send_and_close,
    send_and_drop,
    silence,
    status,
    watch_with,
)
from testkit.fake_apiserver import FakeApiServer, endpoint, endpoint_slice
from testkit.waiting import wait_until
from tests.cluster.following import CALM, QUICK, Following

COMPRESSED = gzip.compress(b'{"items": []}')
LIST_FAULTS = {
    "500": (status(500), "server"),
    "503": (status(503), "server"),
    "403": (status(403), "denied"),
    "401": (status(401), "denied"),
    "404": (status(404), "request"),
    "429": (status(429), "throttled"),
    "410": (status(410), "gone"),
    "301": (status(301, location="/elsewhere"), "request"),
    "list is cut JSON": (body(b'{"items": ['), "stream"),
    "list is not a list": (body(b'"hello"'), "stream"),
    "list has no items": (body(b"{}"), "stream"),
    "compressed list is cut": (body(COMPRESSED[:-9], "gzip"), "stream"),
    "compressed list is damaged": (body(COMPRESSED[:-8] + b"damaged!", "gzip"), "stream"),
    "list is not compressed as it says": (body(b'{"items": []}', "gzip"), "stream"),
    "no answer": (hang, "timeout"),
    "connection drops": (drop, "connection"),
}
WATCH_FAULTS = {
    "watch hangs": (watch_with(silence), "timeout"),
    "watch closes at once": (watch_with(close_at_once), "closed"),
    "watch sends 410": (watch_with(send_and_close(GONE)), "gone"),
    "watch sends 500": (watch_with(send_and_close(BROKEN)), "server"),
    "watch ends within an event": (watch_with(send_and_close(HALF_EVENT)), "stream"),
    "watch breaks within an event": (watch_with(send_and_drop(HALF_EVENT)), "stream"),
    "watch breaks": (watch_with(send_and_drop(b"\n")), "stream"),
    "watch sends nonsense": (watch_with(send_and_close(b"<html>\n")), "stream"),
    "watch fails with 500": (watch_with(status(500)), "server"),
}
FAULTS = LIST_FAULTS | WATCH_FAULTS
"""The fault of the server, and the reason under which it is counted."""


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer() as running:
        running.put(endpoint_slice("one", endpoint("n2", "10.0.0.2")))
        yield running


@pytest.mark.parametrize(("answer", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_peers_stay_during_a_fault_and_are_followed_after_it(
    server: FakeApiServer, tmp_path: Path, answer: Answer, reason: str
) -> None:
    """Five failures of one kind are counted under one reason and change no peer. Discovery recovers with the server."""
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), QUICK) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        server.answer = answer
        server.down()
        wait_until(lambda: sum(discovery.errors().values()) >= 1)
        server.up()
        before = discovery.errors().get(reason, 0)
        wait_until(lambda: discovery.errors().get(reason, 0) >= before + 5)
        # beside that one: what the server's end left, and a time-out of half a second on a busy machine
        assert set(discovery.errors()) <= {reason, "stream", "connection", "timeout"}
        assert discovery.peers == {"n2": "10.0.0.2"}
        server.answer = honest
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        discovery.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})
        wait_until(lambda: discovery.value("up") == 1)
    assert len(discovery.lists) == 2


@pytest.mark.parametrize("answer", [answer for answer, _ in LIST_FAULTS.values()], ids=LIST_FAULTS)
def test_discovery_starts_while_the_server_fails(server: FakeApiServer, tmp_path: Path, answer: Answer) -> None:
    """Nothing is published until a list succeeds."""
    server.answer = answer
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), QUICK) as discovery:
        wait_until(lambda: sum(discovery.errors().values()) >= 3)
        assert discovery.lists == []
        assert discovery.value("up") == 0
        server.answer = honest
        discovery.wait_for({"n2": "10.0.0.2"})


def test_watch_continues_after_refused_connections(server: FakeApiServer, tmp_path: Path) -> None:
    """Five connections to a closed port fail, the peers stay, and then the watch continues at its version."""
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), QUICK) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        server.down()
        wait_until(lambda: discovery.errors().get("connection", 0) >= 5)
        assert discovery.value("up") == 0
        assert discovery.peers == {"n2": "10.0.0.2"}
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        server.up()
        discovery.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})
    assert len(server.requests(watch=False)) == 1
    assert discovery.value("relists_total") == 0


def test_waits_of_a_small_cluster_do_not_grow_with_an_outage(server: FakeApiServer, tmp_path: Path) -> None:
    """13 refused connections: without the limit for an outage, the last wait would be up to 0.05 x 2^12 = 205 s."""
    timing = replace(QUICK, backoff_cap=600, outage_cap=0.1)
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), timing) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        server.down()
        wait_until(lambda: discovery.errors().get("connection", 0) >= 13)
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        server.up()
        discovery.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})


def test_no_fault_causes_more_than_one_request_a_second(tmp_path: Path) -> None:
    """All faults at once, with the timing of a real agent, for 10 s: at most 3 requests and one more per second."""
    faults = {**{name: answer for name, (answer, _) in FAULTS.items()}, "endless pages": endless_pages}
    started = time.monotonic()
    with ExitStack() as stack:
        servers = {name: stack.enter_context(FakeApiServer()) for name in faults}
        followers = []
        for number, (name, answer) in enumerate(faults.items()):
            servers[name].answer = answer
            kubeconfig = servers[name].kubeconfig(tmp_path / str(number))
            followers.append(stack.enter_context(Following(kubeconfig, Timing())))
        for server in servers.values():
            server.wait_for_requests(1)
        threading.Event().wait(10)  # the measured period
        asked = {name: len(server.requests()) for name, server in servers.items()}
        took = time.monotonic() - started
    assert {name: count for name, count in asked.items() if count > 3 + took} == {}
    assert min(asked.values()) >= 1


def test_refused_connections_are_not_retried_at_full_speed(tmp_path: Path) -> None:
    """With the timing of a real agent: at most 3 connections to a closed port and one more per second."""
    with FakeApiServer() as server:
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
    started = time.monotonic()
    with Following(kubeconfig, Timing()) as discovery:
        wait_until(lambda: discovery.errors().get("connection", 0) >= 3)
        assert discovery.errors()["connection"] <= 3 + time.monotonic() - started


def test_retry_after_is_respected(server: FakeApiServer, tmp_path: Path) -> None:
    """429 with Retry-After: 1, three times: each request comes a second or more after the one before."""
    server.answer = status(429, retry_after="1")
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), QUICK) as discovery:
        server.wait_for_requests(4)
        server.answer = honest
        discovery.wait_for({"n2": "10.0.0.2"})
    at = [request.at for request in server.requests()[:4]]
    assert min(later - sooner for sooner, later in pairwise(at)) >= 1


def test_compacted_version_causes_a_new_list(server: FakeApiServer, tmp_path: Path) -> None:
    """The new list contains what changed while the server was down, and not what was deleted."""
    server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), QUICK) as discovery:
        discovery.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})
        server.wait_for_watches(1)
        server.down()
        server.delete("one")
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.33")))
        server.compact()
        server.up()
        discovery.wait_for({"n3": "10.0.0.33"})
        server.wait_for_watches(1)
    assert discovery.errors()["gone"] == 1
    assert discovery.value("relists_total") == 1
    assert len(server.requests(watch=False)) == 2


def test_expired_page_restarts_the_list(server: FakeApiServer, tmp_path: Path) -> None:
    """410 for a `continue` token: the list starts again at the first page, and is published once."""
    for number in range(3, 8):
        server.put(endpoint_slice(f"slice-{number}", endpoint(f"n{number}", f"10.0.0.{number}")))

    def forget_pages_once(exchange: Exchange) -> None:
        if len(server.state.requests) == 2:
            server.state.pages.clear()
        honest(exchange)

    server.answer = forget_pages_once
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), replace(QUICK, page_size=2)) as discovery:
        discovery.wait_for({f"n{number}": f"10.0.0.{number}" for number in range(2, 8)})
    assert discovery.errors()["gone"] == 1
    assert len(discovery.lists) == 1


def test_repeated_and_old_events_are_ignored(server: FakeApiServer, tmp_path: Path) -> None:
    """An old version of a slice and its old deletion are sent again, 7 times each. The newest version is kept."""
    event = (
        b'{"type":"%s","object":{"metadata":{"name":"one","resourceVersion":"%d"},"addressType":"IPv4",'
        b'"endpoints":[{"nodeName":"n2","addresses":["10.0.0.%d"]}]}}'
    )
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), CALM) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        server.send_line(event % (b"MODIFIED", 1100, 22))
        for _ in range(7):
            server.send_line(event % (b"MODIFIED", 1100, 22))
            server.send_line(event % (b"MODIFIED", 1050, 21))
            server.send_line(event % (b"DELETED", 1040, 21))
        server.send_line(b'{"type":"SURPRISE","object":{}}')
        server.send_line(event.replace(b'"one"', b'"two"').replace(b"n2", b"n3") % (b"ADDED", 1200, 3))
        discovery.wait_for({"n2": "10.0.0.22", "n3": "10.0.0.3"})
    addresses = [str(peer.addresses[0]) for peers in discovery.lists for peer in peers if peer.name == "n2"]
    assert list(dict.fromkeys(addresses)) == ["10.0.0.2", "10.0.0.22"]
    assert discovery.errors() == {}


def test_malformed_object_is_counted_and_the_watch_continues(server: FakeApiServer, tmp_path: Path) -> None:
    """An object without a name is skipped; the next event is applied."""
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), CALM) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        server.send_line(b'{"type":"ADDED","object":{"metadata":null}}')
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        discovery.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})
    assert discovery.errors() == {"malformed": 1}
    assert len(server.requests(watch=True)) == 1


@pytest.mark.parametrize("answer", [hang, watch_with(silence), status(429, retry_after="60")])
def test_stop_does_not_wait_for_the_server(server: FakeApiServer, tmp_path: Path, answer: Answer) -> None:
    """Before an answer, within a watch, and during a Retry-After: each lasts 20 s or more."""
    server.answer = answer
    following = Following(server.kubeconfig(tmp_path / "kubeconfig"), replace(CALM, list_timeout=60))
    with following:
        server.wait_for_requests(1)
        following.stop()


def test_repeated_error_is_logged_once_and_so_is_its_end(
    server: FakeApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Seven failures of one kind give one warning with the remedy, and one line when they are over."""
    caplog.set_level("INFO")
    server.answer = status(403)
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), QUICK) as discovery:
        wait_until(lambda: discovery.errors().get("denied", 0) >= 7)
        server.answer = honest
        discovery.wait_for({"n2": "10.0.0.2"})
        wait_until(lambda: "answers again" in caplog.text)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "403 Forbidden; a Role must allow list and watch on endpointslices" in warnings[0]
    assert caplog.text.count("answers again") == 1
