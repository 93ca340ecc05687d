"""The page of an agent, its own row, in a real Chromium over the agent's routes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from monlat_ebpf.exposition.http import MetricsServer
from monlat_ebpf.exposition.page_files import SECURITY_POLICY
from monlat_ebpf.exposition.routes import agent_routes
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.model import AgentSnapshot, Family, PairSnapshot, RecentProbe, Result
from testkit.chromium import Chromium
from tests.unit import snapshots

DASH, MICRO = "\u2013", "\u00b5"
PROBE = RecentProbe(
    3, Result.REPLY, 1_700_000_000_500_000_000, 80_000, 436_000, 372_000, forward_ns=20_500, return_ns=43_500
)


class Page:
    """An agent whose pairs a test sets, and a browser that has its page open."""

    def __init__(self, browser: Chromium) -> None:
        self.browser = browser
        self.pairs: Sequence[PairSnapshot] = list(snapshots.SMALL_CLUSTER.pairs)
        self.url = ""

    def snapshot(self, peer: str | None) -> AgentSnapshot:
        return snapshots.agent([pair for pair in self.pairs if peer in (None, pair.to)])

    def recent(self, peer: str) -> dict[Family, list[RecentProbe]]:
        return {Family.IPV4: [PROBE]} if peer == "node2" else {}

    def open(self, hash_part: str = "") -> None:
        self.browser.open("about:blank")
        self.browser.open(f"{self.url}/{hash_part}")
        self.browser.wait_for("Boolean(document.querySelector('#peers tbody tr'))")

    def text(self, selector: str) -> str:
        found: str = self.browser.run(f"document.querySelector({json.dumps(selector)}).innerText")
        return found

    def wait_for_text(self, selector: str, text: str) -> None:
        self.browser.wait_for(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})")

    def rows(self) -> list[list[str]]:
        found: list[list[str]] = self.browser.run(
            "[...document.querySelectorAll('#peers tbody tr')].map((row) => [...row.cells].map((c) => c.textContent))"
        )
        return found

    def names(self) -> list[str]:
        return [row[0] for row in self.rows()]


@contextmanager
def opened() -> Iterator[Page]:
    """Yield the page of the small cluster's agent. Afterwards: no error, no violation, no other server was asked."""
    with Chromium() as browser:
        page = Page(browser)
        routes = agent_routes(
            page.snapshot, lambda: (page.snapshot(None), ()), lambda: None, lambda: None, SelfMetrics(), page.recent
        )
        with MetricsServer([("127.0.0.1", 0)], routes) as server:
            page.url = f"http://127.0.0.1:{server.port}"
            page.open()
            yield page
            assert browser.complaints == []
            assert {each for each in browser.requested if not each.startswith(f"{page.url}/")} <= {"about:blank"}


@pytest.fixture
def page() -> Iterator[Page]:
    with opened() as found:
        yield found


def many_peers(count: int) -> list[PairSnapshot]:
    """The first of them has lost its last probe; the RTTs of the others grow with their number."""
    usual = snapshots.ANSWERING
    return [
        replace(
            usual,
            to=f"node{number}",
            address=ip_address(0x0A00_0000 + number),
            last_rtt_ns=1000 * number if number > 1 else None,
        )
        for number in range(1, count + 1)
    ]


def test_each_peer_has_a_row_with_its_times_losses_and_path(page: Page) -> None:
    """Numbers of snapshots.py, by hand: quantiles are within a bucket and at most the maximum."""
    rows = page.rows()
    assert [row[0] for row in rows] == [
        "node2",
        "node2",
        "node3",
        "node3",
        "node4",
        snapshots.ODD_NAME,
    ]
    first = rows[0]
    assert (first[1], first[3]) == (f"436 {MICRO}s", f"500 {MICRO}s")
    assert first[4:] == [f"64 {MICRO}s", f"372 {MICRO}s", DASH, "0 of 3", "b", "10.0.0.2", "eth0"]
    assert rows[2][1] == "lost"
    assert rows[2][6:8] == [DASH, "27 of 29"]
    assert rows[4][1:4] == ["lost", DASH, DASH]
    assert rows[5][1] == "no probe has ended"
    assert page.text("#summary") == "3 answer; 2 do not: node3, node4; of 1 no probe has ended yet"
    assert page.text("h1") == "monlat agent of node1"
    facts = page.text("#facts")
    assert "100 % by the driver, of 5 replies" in facts
    assert "0 % by the driver, of 2 replies" in facts
    assert "2 ENETUNREACH, 3 host_unreachable" in facts


def test_page_follows_the_agent_and_counts_the_losses_since_it_was_opened(page: Page) -> None:
    """node2 ends four more probes and loses one of them: a quarter, though one of seven since the start."""
    changed = replace(
        snapshots.ANSWERING,
        sent=8,
        results={Result.REPLY: 6, Result.LOST_FORWARD: 1},
        last_rtt_ns=777_000,
    )
    page.pairs = [changed, *page.pairs[1:]]
    page.browser.wait_for(f"document.querySelector('#peers tbody tr').cells[1].textContent === '777 {MICRO}s'")
    assert page.rows()[0][6:8] == ["25 %", "1 of 7"]
    assert page.rows()[1][6] == DASH  # no probe has ended since
    page.pairs = [replace(changed, last_rtt_ns=None)]
    page.browser.wait_for("document.querySelector('#peers tbody tr').cells[1].textContent === 'lost'")
    assert page.text("#row-title") == "Peers of node1: 1 of 1"


def test_keyboard_alone_reaches_a_peer_and_its_last_probes(page: Page) -> None:
    """Tab from the filter to the table, arrows to the second row, Enter; Tab and Enter close it."""
    page.browser.run("document.querySelector('#filter').focus()")
    page.browser.press("Tab")
    assert page.browser.run("document.activeElement.id") == "scroller"
    page.browser.press("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp")
    assert page.browser.run("document.activeElement.closest('tr').ariaRowIndex") == "3"
    page.browser.press("Enter")
    page.wait_for_text("#directions", "Last probes, newest first")
    assert page.browser.run("document.activeElement.id") == "pair-title"
    shown = page.text("#directions")
    assert f"ipv4: 436 {MICRO}s" in shown
    assert f"ipv6: 500 {MICRO}s" in shown
    assert f"-2 ms ± 10 {MICRO}s" in shown
    cells = page.browser.run("[...document.querySelectorAll('#directions td')].map((each) => each.textContent)")
    assert cells == ["reply", f"436 {MICRO}s", f"64 {MICRO}s"]
    label = page.browser.run("document.querySelector('#directions svg').ariaLabel")
    assert label.endswith(f"way there 20.5 {MICRO}s, peer's kernel (dwell) 372 {MICRO}s, way back 43.5 {MICRO}s")
    page.browser.press("Tab", "Enter")
    assert page.browser.run("document.querySelector('#pair').hidden")
    assert page.browser.run("document.activeElement.id") == "scroller"


def test_sorting_filter_and_peer_are_in_the_address(page: Page) -> None:
    """By RTT, the lost one is the largest. Numbers in names count: node10 comes after node9."""
    page.pairs = many_peers(12)
    page.wait_for_text("#row-title", "12 of 12")
    assert page.names() == [f"node{number}" for number in range(1, 13)]
    page.browser.run("document.querySelectorAll('#peers thead button')[1].click()")
    assert page.names() == ["node1", *(f"node{number}" for number in range(12, 1, -1))]
    assert page.browser.run("document.querySelectorAll('#peers thead th')[1].ariaSort") == "descending"
    page.browser.run("document.querySelectorAll('#peers thead button')[1].click()")
    assert page.names()[-2:] == ["node12", "node1"]
    page.browser.run(
        "const field = document.querySelector('#filter'); field.value = 'DE1'; field.dispatchEvent(new Event('input'))"
    )
    assert page.names() == ["node10", "node11", "node12", "node1"]
    page.browser.run("document.querySelector('#peers tbody button').click()")
    address = "#filter=DE1&sort=rtt&peer=node10"
    page.browser.wait_for(f"location.hash === {json.dumps(address)}")
    page.open(address)
    assert page.names() == ["node10", "node11", "node12", "node1"]
    page.wait_for_text("#directions", f"ipv4: 10 {MICRO}s")
    page.open("#filter=zone%3Db")
    assert len(page.names()) == 12


def test_five_thousand_peers_are_few_elements_and_scroll_to_the_last(page: Page) -> None:
    """The time of an update and of a step of the wheel is compared with plain arithmetic in the same browser."""
    page.pairs = many_peers(5000)
    page.wait_for_text("#row-title", "5000 of 5000")
    assert len(page.names()) < 100
    assert page.browser.run("document.querySelector('#peers').getAttribute('aria-rowcount')") == "5001"
    page.browser.run("document.querySelector('#scroller').scrollTop = 1e9")
    page.browser.wait_for("document.querySelector('#peers tbody').lastElementChild.cells[0].textContent === 'node5000'")
    assert len(page.names()) < 100
    bottom = page.browser.run(
        "(() => { const box = (each) => document.querySelector(each).getBoundingClientRect();"
        " return box('#scroller').bottom - box('#peers tbody tr:last-child').bottom; })()"
    )
    assert abs(bottom) < 30  # the last row is at the lower edge
    page.browser.run("document.querySelector('#scroller').focus()")
    page.browser.press("ArrowDown")
    assert page.browser.run("Boolean(document.activeElement.closest('tr'))")
    shown = min(
        float(
            page.browser.run(
                "(window.dispatchEvent(new Event('resize')),"
                " document.querySelector('#scroller').dataset.shownMilliseconds)"
            )
        )
        for _ in range(5)
    )
    step, logarithms = page.browser.run(
        "(() => { const scroller = document.querySelector('#scroller'); let step = Infinity, began;"
        " for (let i = 0; i < 50; i += 1) { began = performance.now();"
        " scroller.scrollTop = 2000 * i; scroller.dispatchEvent(new Event('scroll'));"
        " step = Math.min(step, performance.now() - began); }"
        " let sum = 0; began = performance.now();"
        " for (let i = 1; i <= 2e7; i += 1) sum += Math.log(i); return [step, performance.now() - began, sum]; })()"
    )[:2]
    assert shown < logarithms
    assert step < logarithms / 5


def test_400_pixels_are_enough_and_print_leaves_the_controls_out(page: Page) -> None:
    """The table scrolls within its own frame."""
    page.browser.resize(400, 800)
    page.open("#peer=node2")
    page.wait_for_text("#directions", "Last probes")
    assert page.browser.run("document.documentElement.scrollWidth") <= 400
    page.browser.call("Emulation.setEmulatedMedia", media="print")
    shown = "(id) => getComputedStyle(document.getElementById(id)).display !== 'none'"
    assert page.browser.run(f"['controls', 'peers', 'facts'].map({shown})") == [False, True, True]


def test_agent_that_ends_is_said() -> None:
    """What was shown stays, under an alert."""
    with Chromium() as browser:
        page = Page(browser)
        routes = agent_routes(
            page.snapshot, lambda: (page.snapshot(None), ()), lambda: None, lambda: None, SelfMetrics(), page.recent
        )
        with MetricsServer([("127.0.0.1", 0)], routes) as server:
            page.url = f"http://127.0.0.1:{server.port}"
            page.open()
            policy = browser.run("fetch('/').then((answer) => answer.headers.get('content-security-policy'))")
            assert policy == SECURITY_POLICY
        browser.wait_for("!document.querySelector('#problem').hidden")
        assert browser.run("document.querySelector('#problem').role") == "alert"
        assert len(page.names()) == 6
