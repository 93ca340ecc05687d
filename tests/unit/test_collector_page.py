"""The collector's page in a real Chromium. Colours are expected from the rule in docs/collector.md, computed here."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import pytest

from monlat_ebpf.collector.answer import LOSSES, VALUES, Row
from monlat_ebpf.collector.fetch import AskError, Failure
from monlat_ebpf.collector.metrics import CollectorMetrics
from monlat_ebpf.collector.pair import Detail
from monlat_ebpf.collector.routes import collector_routes
from monlat_ebpf.collector.store import Store
from monlat_ebpf.exposition.http import MetricsServer
from monlat_ebpf.model import Peer
from testkit.chromium import Chromium
from tests.unit.collector_rows import row
from tests.unit.fake_agent import probe

TIMES, MICRO = "\u00d7", "\u00b5"

ZONES = {"node1": "a", "node2": "a", "node3": "b", "node4": "b"}
RTTS: dict[str, dict[str, float | None]] = {
    "node1": {"node2": 1e-3, "node3": 2e-3, "node4": 3e-3},
    "node2": {"node1": 4e-3, "node3": None},
    "node3": {"node1": 5e-3, "node2": 2.0, "node4": 6e-3},
}
"""node2 has lost node3 and does not probe node4; node3 to node2 is an outlier; node4's agent does not answer."""

DETAIL = Detail(
    {
        "source": "tracepoint",
        "source_reason": "",
        "send_delay_seconds": {"p50": 80e-6, "p99": 290e-6},
        "reply_stamps": [{"device": "eth0", "driver": 19, "stack": 0}],
        "families": [
            {
                **{"family": "ipv4", "address": "10.0.0.2", "device": "eth0", "from_zone": "a", "to_zone": "a"},
                **{"sent": 23, "in_flight": 0, "late": 0, "duplicates": 0, "results": {"reply": 19}},
                "queueing_seconds": None,
                "probes": [probe(1)],
            }
        ],
    },
    1.0,
    None,
)


class Served:
    """The collector's routes with a store that the test fills, and a browser that has the page open."""

    def __init__(self, store: Store, url: str, browser: Chromium) -> None:
        self.store, self.url, self.browser = store, url, browser

    def open(self, hash_part: str = "") -> None:
        self.browser.open("about:blank")
        self.browser.open(f"{self.url}/{hash_part}")
        self.browser.wait_for("document.querySelector('#map')?.dataset.cells")

    def text(self, selector: str) -> str:
        found: str = self.browser.run(f"document.querySelector({json.dumps(selector)}).innerText")
        return found

    def wait_for_text(self, selector: str, text: str) -> None:
        wanted = f"document.querySelector({json.dumps(selector)}).innerText.includes({json.dumps(text)})"
        self.browser.wait_for(wanted)

    def pixels(self, row: int, column: int) -> list[tuple[int, int, int]]:
        """The colours of a cell, pixel by pixel."""
        left, top, size = map(int, self.browser.run("document.querySelector('#map').dataset.cells").split())
        data = self.browser.run(
            "(() => { const copy = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });"
            f" copy.canvas.width = copy.canvas.height = {size};"
            f" copy.drawImage(document.querySelector('#map'), {-left - column * size}, {-top - row * size});"
            f" return Array.from(copy.getImageData(0, 0, {size}, {size}).data); }})()"
        )
        return [(data[at], data[at + 1], data[at + 2]) for at in range(0, len(data), 4)]

    def middle(self, row: int, column: int) -> tuple[int, int, int]:
        """The colour halfway between the cell's upper left corner and its centre: no mark is there."""
        pixels = self.pixels(row, column)
        size = math.isqrt(len(pixels))
        return pixels[size // 4 * size + size // 4 * 2]


def peers(zones: dict[str, str]) -> Sequence[Peer]:
    return [Peer(name, (ip_address("10.0.0.1"),), zone) for name, zone in zones.items()]


def new_store(zones: dict[str, str]) -> Store:
    store = Store(stale_after_seconds=3600.0, history_bytes=1 << 22)
    store.set_peers(peers(zones))
    return store


@pytest.fixture
def store() -> Store:
    made = new_store(ZONES)
    for name, rtts in RTTS.items():
        made.answered(name, row(name, rtts))
    made.failed("node4", AskError(Failure.TIMEOUT, "does not answer in time"))
    return made


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    """Every test also checks that the page had no error, broke no policy and asked no other server."""
    routes = collector_routes(
        store,
        lambda source, to: DETAIL,
        CollectorMetrics(store),
        healthy=lambda: None,
        ready=lambda: None,
        interval_seconds=0.2,
    )
    with MetricsServer([("127.0.0.1", 0)], routes) as server, Chromium() as browser:
        url = f"http://127.0.0.1:{server.port}"
        yield Served(store, url, browser)
        assert browser.complaints == []
        assert {address for address in browser.requested if not address.startswith(f"{url}/")} <= {"about:blank"}


def cividis(value: float, low: float, high: float) -> tuple[int, ...]:
    """The colour of a value between the limits: one of 256, by d3-scale-chromatic's polynomial."""
    share = min(max(math.log(value / low) / math.log(high / low), 0), 1)
    t = round(share * 255) / 255
    parts = (
        -4.54 - t * (35.34 - t * (2381.73 - t * (6402.7 - t * (7024.72 - t * 2710.57)))),
        32.49 + t * (170.73 + t * (52.82 - t * (131.46 - t * (176.58 - t * 67.37)))),
        81.24 + t * (442.36 - t * (2482.43 - t * (6167.24 - t * (6614.94 - t * 2475.67)))),
    )
    return tuple(round(min(max(part, 0), 255)) for part in parts)


def near(found: Sequence[int], expected: Sequence[int]) -> bool:
    return all(abs(one - other) <= 1 for one, other in zip(found, expected, strict=True))


def test_first_view_is_zones_with_the_median_of_their_pairs(served: Served) -> None:
    """a to b has 2 and 3 ms, one pair lost and one not probed; its cell has the lower median and a corner."""
    served.open()
    assert served.text("#matrix-title") == f"RTT, last: 2 {TIMES} 2 zones"
    served.browser.run("document.querySelector('#map').focus()")
    served.browser.press("ArrowRight", "ArrowRight")
    assert served.text("#cell") == "a to b: 2 ms (median), 4 pairs, 1 lost, 1 not probed"
    served.browser.press("ArrowDown")
    assert served.text("#cell") == "b to b: 6 ms (median), 2 pairs, 1 stale"
    corner = served.pixels(0, 1)
    size = math.isqrt(len(corner))
    assert corner[size - 1] == (194, 0, 95)
    assert corner[0] != (194, 0, 95)


def test_colours_are_logarithmic_and_an_outlier_does_not_flatten_them(served: Served) -> None:
    """Seven numbers, 1 to 6 ms and 2 s. The limits: 1 ms, and four times the upper quartile 6 ms, not 2 s."""
    served.open("#view=nodes")
    low, high = 1e-3, 4 * 6e-3
    for number, (source, rtts) in enumerate(RTTS.items()):
        for to, rtt in rtts.items():
            if rtt is not None:
                column = list(ZONES).index(to)
                assert near(served.middle(number, column), cividis(rtt, low, high)), (source, to)
    assert "1 ms or less" in served.text("#legend")
    assert "24 ms or more" in served.text("#legend")


@pytest.mark.parametrize("is_dark", [False, True])
def test_states_have_marks_besides_colours(served: Served, is_dark: bool) -> None:
    """Lost: a cross. Stale: hatching. Not probed: a dot. Each has two colours, in its own pattern."""
    scheme = "dark" if is_dark else "light"
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    served.browser.call("Emulation.setEmulatedMedia", features=media)
    served.open("#view=nodes")
    lost, stale, not_probed = served.pixels(1, 2), served.pixels(3, 0), served.pixels(1, 3)
    size = math.isqrt(len(lost))
    centre = size // 2 * size + size // 2
    side = size // 2 * size + size // 8
    diagonal = size // 4 * size + size // 4
    for cell in (lost, not_probed):
        assert cell[centre] != cell[side]
    assert lost[diagonal] == lost[centre]  # the cross reaches there, the dot does not
    assert not_probed[diagonal] == not_probed[side]
    lines = [stale[size // 2 * size + x] for x in range(size)]
    assert len(set(lines)) == 2
    assert sum(one != other for one, other in pairwise(lines)) >= 4
    grounds = {lost[side], not_probed[side], *set(stale)}
    assert len(grounds) == 4


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
    assert served.browser.run("document.querySelector('#cell').getAttribute('aria-live')") == "polite"
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
    assert labels[2].startswith("Distribution of 1 points of the history")
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
    address = served.browser.run("location.hash")
    assert address == "#view=nodes&measure=rtt_p99&rows=zone%3Da&from=node1&to=node3"
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
    served.store.set_peers(peers({**ZONES, "node5": "b"}))
    served.wait_for_text("#matrix-title", f"5 {TIMES} 5 nodes")


def test_collector_that_ends_is_said_and_its_return_too(store: Store) -> None:
    """The old matrix stays, under an alert."""
    routes = collector_routes(
        store, lambda source, to: None, CollectorMetrics(store), lambda: None, lambda: None, interval_seconds=0.2
    )
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


def test_400_pixels_are_enough(served: Served) -> None:
    """Nothing is wider than the window, in either view, with a pair open."""
    served.browser.resize(400, 800)
    for part in ("", "#view=nodes&from=node1&to=node2"):
        served.open(part)
        if part:
            served.wait_for_text("#directions", "by the driver")
        assert served.browser.run("document.documentElement.scrollWidth") <= 400


def test_print_leaves_the_controls_out(served: Served) -> None:
    """The matrix and the lists stay."""
    served.open("#view=nodes")
    served.browser.call("Emulation.setEmulatedMedia", media="print")
    shown = "(id) => getComputedStyle(document.getElementById(id)).display !== 'none'"
    assert served.browser.run(f"['controls', 'map', 'worst', 'missing'].map({shown})") == [False, True, True, True]


def test_names_are_text_and_not_markup(served: Served) -> None:
    """A node can have any printable name."""
    name = "<img src=x onerror=alert(1)>&\"'"
    served.store.set_peers(peers({"node1": "a", name: "<b>"}))
    served.store.answered("node1", row("node1", {name: 1e-3}))
    served.open(f"#view=nodes&from=node1&to={name.replace('&', '%26')}")
    served.wait_for_text("#cell", f"node1 to {name}: 1 ms")
    assert served.browser.run("document.images.length") == 0


def large_row(number: int, names: Sequence[str], each: int) -> Row:
    to = tuple(names[(number + step) % len(names)] for step in range(1, each + 1))
    rtts = [1e-4 * (1 + (number * 7 + step) % 97) for step in range(each)]
    values = {name: array("d" if name == "rtt" else "f", rtts) for name in VALUES}
    counters = {name: array("I", [60] * each) for name in ("ended", *LOSSES)}
    return Row(to, b"m" * each, values, counters, "a")


def test_thousand_nodes_are_drawn_in_the_time_of_some_million_logarithms(served: Served) -> None:
    """A million cells, 32,000 of them measured, a pixel each; compared with plain arithmetic in the same browser."""
    names = [f"node{number}" for number in range(1000)]
    served.store.set_peers(peers({name: "abc"[number % 3] for number, name in enumerate(names)}))
    for number, name in enumerate(names):
        served.store.answered(name, large_row(number, names, 32))
    served.open("#view=nodes")
    served.wait_for_text("#matrix-title", f"1000 {TIMES} 1000 nodes")
    assert served.browser.run("document.querySelector('#map').dataset.cells").split()[2] == "1"
    drawn = min(
        float(
            served.browser.run(
                "(window.dispatchEvent(new Event('resize')), document.querySelector('#map').dataset.drawnMilliseconds)"
            )
        )
        for _ in range(5)
    )
    logarithms: Any = served.browser.run(
        "(() => { let sum = 0; const began = performance.now();"
        " for (let i = 1; i <= 2e7; i += 1) sum += Math.log(i); return [performance.now() - began, sum]; })()"
    )
    assert drawn < 5 * logarithms[0]
    served.browser.run("document.querySelector('#map').focus()")
    served.browser.press("ArrowRight", "ArrowRight")
    assert served.text("#cell").startswith("node0 to node3: ")  # sorted by zone: the second of zone a
