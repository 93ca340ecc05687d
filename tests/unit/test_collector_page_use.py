"""The collector's page in use: keyboard, address, lists, table, and what it does while the collector is away."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from monlat_ebpf.exposition.http import MetricsServer
from testkit.chromium import Chromium
from tests.unit.collector_page import MICRO, TIMES, ZONES, Served, peers, routes_of, served_page, small_store
from tests.unit.collector_rows import row


@pytest.fixture
def served() -> Iterator[Served]:
    with served_page() as page:
        yield page


def test_keyboard_alone_reaches_a_pair_and_the_live_region_says_each_cell(served: Served) -> None:
    """From the canvas: right to node2's column, down, Enter; the panel's heading has the focus, Tab reaches Close."""
    served.open("#view=nodes")
    served.browser.run("document.querySelector('#map').focus()")
    said = []
    for key in ("ArrowDown", "ArrowRight", "ArrowDown", "ArrowRight", "End", "Home"):
        served.browser.press(key)
        said.append(served.text("#cell"))
    assert said == [
        "node1 to node1: the node itself",
        "node1 to node2: 1 ms",
        "node2 to node2: the node itself",
        "node2 to node3: lost",
        "node2 to node4: not probed",
        "node2 to node1: 4 ms",
    ]
    assert served.browser.run("document.querySelector('#spoken-cell').getAttribute('aria-live')") == "polite"
    assert served.browser.run("document.querySelector('#spoken-cell').textContent") == said[-1]
    served.browser.press("Enter")
    served.wait_for_text("#directions", "node1 to node2: 1 ms")
    assert "node2 to node1: 4 ms" in served.text("#directions")
    assert served.browser.run("document.activeElement.id") == "pair-title"
    served.browser.press("Tab")
    assert served.browser.run("document.activeElement.id") == "close"
    served.browser.press("Enter")
    served.browser.wait_for("document.querySelector('#pair').hidden")
    assert served.browser.run("document.activeElement.id") == "map"


def test_pair_shows_distribution_waterfall_history_device_and_stamps(served: Served) -> None:
    """The last probe: 80 us to the driver, 10 there, 30 at the peer, 20 back. Each picture has a text."""
    served.open("#view=nodes&from=node1&to=node2")
    served.wait_for_text("#directions", "10.0.0.2 over eth0")
    shown = served.text("#directions")
    assert "100 % by the driver, of 19 replies" in shown
    labels = served.browser.run("[...document.querySelectorAll('#directions svg')].map((each) => each.ariaLabel)")
    assert labels[0] == (
        f"Where the time of the last probe went: send delay 80 {MICRO}s, way there 10 {MICRO}s, "
        f"peer's kernel (dwell) 30 {MICRO}s, way back 20 {MICRO}s"
    )
    assert labels[1].startswith("History: 1 ms to 1 ms since ")
    assert labels[2].startswith("Distribution of 1 reply within 0 s")
    widths = served.browser.run(
        "[...document.querySelectorAll('#directions svg')][0].querySelectorAll('rect').values().map((each) =>"
        " each.width.baseVal.value).toArray()"
    )
    assert [width / sum(widths) for width in widths] == pytest.approx([80 / 140, 10 / 140, 30 / 140, 20 / 140])


def test_address_restores_the_view(served: Served) -> None:
    """What is chosen goes to the address bar; a new browser tab with that address shows the same."""
    served.open()
    served.browser.run(
        "for (const [id, value, kind] of [['view', 'nodes', 'change'], ['measure', 'rtt_p99', 'change'],"
        " ['rows', 'zone=a', 'input']]) { const field = document.getElementById(id); field.value = value;"
        " field.dispatchEvent(new Event(kind, { bubbles: true })); }"
    )
    served.wait_for_text("#matrix-title", f"RTT, p99: 2 {TIMES} 4 nodes")
    served.browser.run("document.querySelector('#map').focus()")
    served.browser.press("ArrowRight", "ArrowRight", "ArrowRight", "Enter")
    address = "#view=nodes&measure=rtt_p99&rows=zone%3Da&from=node1&to=node3"
    served.browser.wait_for(f"location.hash === {json.dumps(address)}")
    served.open(address)
    served.wait_for_text("#matrix-title", f"RTT, p99: 2 {TIMES} 4 nodes")
    assert served.text("#cell") == "node1 to node3: 1.27 ms"
    assert served.browser.run("['rows', 'measure', 'view'].map((id) => document.getElementById(id).value)") == [
        "zone=a",
        "rtt_p99",
        "nodes",
    ]
    served.wait_for_text("#pair-title", "node1 and node3")


def test_worst_pairs_and_missing_agents_are_listed_by_name(served: Served) -> None:
    """The lost one first, then the largest; a click opens the pair."""
    served.open()
    worst = served.text("#worst").splitlines()
    assert worst[:3] == ["node2 to node3: lost", "node3 to node2: 2 s", "node3 to node4: 6 ms"]
    assert served.text("#missing") == "node4: never answered; it does not answer in time"
    served.browser.run("document.querySelector('#worst button').click()")
    served.wait_for_text("#directions", "node2 to node3: lost")


def test_page_follows_the_agents(served: Served) -> None:
    """New numbers, states and nodes appear without a click."""
    served.open("#view=nodes&from=node1&to=node2")
    assert served.text("#cell") == "node1 to node2: 1 ms"
    served.store.answered("node1", row("node1", {"node2": 7e-3}))
    served.wait_for_text("#cell", "node1 to node2: 7 ms")
    served.store.answered("node1", row("node1", {"node2": None}))
    served.wait_for_text("#cell", "node1 to node2: lost")
    assert served.browser.run("document.querySelector('#spoken-cell').textContent") == ""  # nothing was selected
    served.store.set_peers(peers({**ZONES, "node5": "b"}))
    served.wait_for_text("#matrix-title", f"5 {TIMES} 5 nodes")


def test_collector_that_ends_is_said_and_its_return_too() -> None:
    """The old matrix stays, under an alert."""
    routes = routes_of(small_store())
    with Chromium() as browser:
        with MetricsServer([("127.0.0.1", 0)], routes) as server:
            port = server.port
            browser.open(f"http://127.0.0.1:{port}/")
            browser.wait_for("document.querySelector('#map')?.dataset.cells")
            assert browser.run("document.querySelector('#problem').hidden")
        browser.wait_for("!document.querySelector('#problem').hidden")
        assert browser.run("document.querySelector('#problem').role") == "alert"
        with MetricsServer([("127.0.0.1", port)], routes):
            browser.wait_for("document.querySelector('#problem').hidden")


def test_table_says_the_same_as_the_picture(served: Served) -> None:
    """Every cell as text, with headers that name its row and column."""
    served.open("#view=nodes")
    served.browser.run("document.querySelector('#table-part').open = true")
    served.wait_for_text("#table", "node4")
    rows = served.browser.run(
        "[...document.querySelectorAll('#table tr')].map((row) => [...row.cells].map((c) => c.innerText))"
    )
    assert rows == [
        ["from \\ to", "node1", "node2", "node3", "node4"],
        ["node1", "the node itself", "1 ms", "2 ms", "3 ms"],
        ["node2", "4 ms", "the node itself", "lost", "not probed"],
        ["node3", "5 ms", "2 s", "the node itself", "6 ms"],
        ["node4", "stale", "stale", "stale", "the node itself"],
    ]
    assert served.browser.run("document.querySelectorAll('#table th[scope=row]').length") == 4
