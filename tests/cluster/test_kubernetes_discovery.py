"""Kubernetes discovery in normal operation, with the real client, over real sockets, against our fake server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testkit.fake_apiserver import FakeApiServer, endpoint, endpoint_slice
from testkit.waiting import wait_until
from tests.cluster.following import CALM, Following, threads_of_discovery


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer() as running:
        running.put(endpoint_slice("one", endpoint("me", "10.0.0.1", zone="b"), endpoint("n2", "10.0.0.2")))
        yield running


@pytest.fixture
def following(server: FakeApiServer, tmp_path: Path) -> Iterator[Following]:
    with Following(server.kubeconfig(tmp_path / "kubeconfig")) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        yield discovery


def test_changes_are_published(server: FakeApiServer, following: Following) -> None:
    """A node is added, changes its address and is removed. Discovery sends one list and one watch request."""
    server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
    following.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})
    server.put(endpoint_slice("two", endpoint("n3", "10.0.0.33")))
    following.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.33"})
    server.delete("two")
    following.wait_for({"n2": "10.0.0.2"})
    assert [request.watch for request in server.requests()] == [False, True]
    assert following.errors() == {}


def test_zone_of_this_node_is_known(following: Following) -> None:
    """It is in the endpoint of this node's own agent."""
    assert following.own_zone == "b"


def test_zone_of_this_node_is_published_when_it_is_listed_last(server: FakeApiServer, tmp_path: Path) -> None:
    """The other nodes stay the same, and other pairs are probed: the same list is published again."""
    server.put(endpoint_slice("one", endpoint("n2", "10.0.0.2")))
    with Following(server.kubeconfig(tmp_path / "kubeconfig")) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        assert (discovery.own_zone, len(discovery.lists)) == ("", 1)
        server.put(endpoint_slice("two", endpoint("me", "10.0.0.1", zone="b")))
        wait_until(lambda: len(discovery.lists) == 2, "the list is not published again")
        assert (discovery.own_zone, discovery.lists[1]) == ("b", discovery.lists[0])


def test_requests_are_cheap_for_the_api_server(server: FakeApiServer, following: Following) -> None:
    """Only the Service's slices, in pages; a watch from the list's version, with bookmarks and a time limit."""
    listing, watch = (request.query for request in server.requests())
    assert listing == {"labelSelector": "kubernetes.io/service-name=monlat-agents", "limit": "50"}
    assert 290 <= int(watch.pop("timeoutSeconds")) <= 319
    assert watch == {
        "labelSelector": "kubernetes.io/service-name=monlat-agents",
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "1001",
    }
    assert server.requests()[0].headers["User-Agent"].startswith("monlat-ebpf/")


def test_long_list_comes_compressed_and_a_watch_does_not(server: FakeApiServer, tmp_path: Path) -> None:
    """997 nodes are 200 kB, of which a quarter or less is sent. A change after it comes by the watch."""
    many = {f"x{number:03}": f"10.1.{number // 250}.{number % 250 + 1}" for number in range(997)}
    nodes = [endpoint(node, address) for node, address in many.items()]
    server.put(endpoint_slice("many", *nodes))
    with Following(server.kubeconfig(tmp_path / "kubeconfig")) as discovery:
        discovery.wait_for({"n2": "10.0.0.2", **many})
        server.wait_for_watches(1)
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        discovery.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3", **many})
    listing, watch = server.requests()
    assert (listing.headers["Accept-Encoding"], watch.headers["Accept-Encoding"]) == ("gzip", "identity")
    assert 0 < server.state.body_bytes < len(json.dumps(nodes)) / 4


def test_slices_of_other_services_are_ignored(server: FakeApiServer, tmp_path: Path) -> None:
    """The server filters by the label of the Service."""
    server.put(endpoint_slice("web", endpoint("n9", "10.0.0.9"), service="web"))
    with Following(server.kubeconfig(tmp_path / "kubeconfig")) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})


def test_list_of_several_pages_is_published_once(server: FakeApiServer, tmp_path: Path) -> None:
    """13 slices in pages of 3 need five requests and give one list."""
    for number in range(3, 15):
        server.put(endpoint_slice(f"slice-{number}", endpoint(f"n{number}", f"10.0.0.{number}")))
    timing = replace(CALM, page_size=3)
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), timing) as discovery:
        discovery.wait_for({f"n{number}": f"10.0.0.{number}" for number in range(2, 15)})
        server.wait_for_watches(1)
    assert len(server.requests(watch=False)) == 5
    assert len(discovery.lists) == 1


def test_watch_continues_at_the_last_bookmark(server: FakeApiServer, tmp_path: Path) -> None:
    """The server ends the watch after a second. The next one begins at the bookmark's version, without a new list."""
    timing = replace(CALM, watch_seconds=1)
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), timing) as discovery:
        server.wait_for_watches(1)
        server.bookmark()
        server.wait_for_requests(2, watch=True)
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        discovery.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})
    assert [request.query["resourceVersion"] for request in server.requests(watch=True)][:2] == ["1001", "1002"]
    assert len(server.requests(watch=False)) == 1
    assert discovery.value("relists_total") == 0
    assert discovery.errors() == {}


def test_both_families_of_a_node_are_one_peer(server: FakeApiServer, following: Following) -> None:
    """A node with only IPv6 is a peer too."""
    six = [endpoint("n2", "fd00::2"), endpoint("n6", "fd00::6")]
    server.put(endpoint_slice("six", *six, kind="IPv6"))
    following.wait_for({"n2": "10.0.0.2 fd00::2", "n6": "fd00::6"})


def test_node_replaced_under_the_same_name_gets_the_new_address(server: FakeApiServer, following: Following) -> None:
    """Both while the old endpoint still exists, not serving, and after it is gone."""
    old, new = endpoint("n2", "10.0.0.2", serving=False), endpoint("n2", "10.0.0.22")
    server.put(endpoint_slice("one", old, new))
    following.wait_for({"n2": "10.0.0.22"})
    server.put(endpoint_slice("one", new))
    server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
    following.wait_for({"n2": "10.0.0.22", "n3": "10.0.0.3"})


def test_terminating_node_stays_while_it_serves(server: FakeApiServer, following: Following) -> None:
    """A node that terminates and does not serve is removed."""
    server.put(
        endpoint_slice(
            "one",
            endpoint("n2", "10.0.0.2", serving=False, terminating=True),
            endpoint("n3", "10.0.0.3", terminating=True),
            endpoint("n4", "10.0.0.4", serving=False),
        )
    )
    following.wait_for({"n3": "10.0.0.3", "n4": "10.0.0.4"})


def test_empty_slice_gives_an_empty_list(server: FakeApiServer, following: Following) -> None:
    """The empty list is published."""
    server.put(endpoint_slice("one"))
    following.wait_for({})
    assert following.lists[-1] == ()


def test_node_that_moves_between_slices_is_never_removed(server: FakeApiServer, tmp_path: Path) -> None:
    """The event for the slice that loses it comes first. Debounced, both events together change nothing."""
    timing = replace(CALM, keep_seconds=0)
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), timing) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        server.put(endpoint_slice("one"), endpoint_slice("two", endpoint("n2", "10.0.0.2")))
        server.put(endpoint_slice("three", endpoint("n3", "10.0.0.3")))
        discovery.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})
        assert all("n2" in {peer.name for peer in peers} for peers in discovery.lists)


def test_node_that_leaves_stays_until_its_time_is_over(server: FakeApiServer, tmp_path: Path) -> None:
    """No event comes when the time is over. The zone and the addresses of this node's own endpoint stay, too."""
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), replace(CALM, keep_seconds=600)) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        server.put(endpoint_slice("one", endpoint("n3", "10.0.0.3")))
        discovery.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})
        assert (discovery.own_zone, [str(each) for each in discovery.own_addresses]) == ("b", ["10.0.0.1"])
        server.put(endpoint_slice("one", endpoint("n3", "10.0.0.2")))
        discovery.wait_for({"n3": "10.0.0.2"})
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), replace(CALM, keep_seconds=0.1)) as discovery:
        discovery.wait_for({"n3": "10.0.0.2"})
        server.wait_for_watches(1)
        server.put(endpoint_slice("one"))
        discovery.wait_for({})


def test_a_thousand_changes_are_published_in_a_few_lists(server: FakeApiServer, tmp_path: Path) -> None:
    """1,009 nodes in 1,009 events come and go: at most one list per debounce time, and none is lost."""
    timing = replace(CALM, debounce_seconds=0.2)
    many = {f"x{number:04}": f"10.1.{number // 250}.{number % 250 + 1}" for number in range(1009)}
    slices = [endpoint_slice(f"slice-{node}", endpoint(node, address)) for node, address in many.items()]
    with Following(server.kubeconfig(tmp_path / "kubeconfig"), timing) as discovery:
        discovery.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        started = time.monotonic()
        server.put(*slices)
        discovery.wait_for({"n2": "10.0.0.2", **many})
        server.delete(*[each["metadata"]["name"] for each in slices])
        discovery.wait_for({"n2": "10.0.0.2"})
        took = time.monotonic() - started
    assert len(discovery.lists) <= 1 + took / 0.2
    assert len(server.requests()) == 2


def test_every_event_restarts_the_age_of_the_last_event(server: FakeApiServer, following: Following) -> None:
    """A bookmark is an event too."""

    def last_event() -> float:
        return time.monotonic() - following.value("last_event_age_seconds")

    wait_until(lambda: following.value("last_event_age_seconds") > 0.3)
    before = last_event()
    server.bookmark()
    wait_until(lambda: last_event() > before + 0.2)
    assert following.value("up") == 1


def test_malformed_endpoints_do_not_affect_other_nodes(
    server: FakeApiServer, following: Following, caplog: pytest.LogCaptureFixture
) -> None:
    """Two wrong entries are counted, the first is logged, and the third node is a peer."""
    server.put(endpoint_slice("two", endpoint("n3", "here"), endpoint("", "10.0.0.4"), endpoint("n5", "10.0.0.5")))
    following.wait_for({"n2": "10.0.0.2", "n5": "10.0.0.5"})
    assert following.errors() == {"malformed": 2}
    assert caplog.text.count("two: endpoints[0]: 'here' is not an address") == 1


def test_exception_in_publish_does_not_end_discovery(server: FakeApiServer, tmp_path: Path) -> None:
    """The next list is published again."""
    offered = threading.Semaphore(0)

    def publish(peers: object) -> None:
        offered.release()
        raise RuntimeError("no room")

    following = Following(server.kubeconfig(tmp_path / "kubeconfig"))
    following._discovery.start(publish)
    try:
        assert offered.acquire(timeout=20)
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        assert offered.acquire(timeout=20)
    finally:
        following.stop()


def test_stop_ends_threads_and_connections(server: FakeApiServer, tmp_path: Path) -> None:
    """23 times during a watch: no thread and no connection is left, and nothing more is published."""
    kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
    for _ in range(23):
        with Following(kubeconfig) as discovery:
            discovery.wait_for({"n2": "10.0.0.2"})
            server.wait_for_watches(1)
            discovery.stop()
        assert threads_of_discovery() == []
        server.wait_for_watches(0)
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        server.delete("two")
        assert len(discovery.lists) == 1


def test_stop_before_start_does_nothing(tmp_path: Path) -> None:
    """An agent that fails early stops all its parts, also those not started."""
    Following(tmp_path / "none").stop()
