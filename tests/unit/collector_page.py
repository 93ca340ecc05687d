"""The collector's page in a real Chromium, over a store that a test fills."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from monlat_ebpf.collector.fetch import AskError, Failure
from monlat_ebpf.collector.metrics import CollectorMetrics
from monlat_ebpf.collector.pair import Detail
from monlat_ebpf.collector.routes import collector_routes
from monlat_ebpf.collector.store import Store
from monlat_ebpf.exposition.http import MetricsServer, Request, Response, Route
from monlat_ebpf.model import Peer
from testkit.chromium import Chromium
from tests.unit import diagnosis_documents
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
    """The collector's routes with a store and a diagnosis that the test sets, and a browser that has the page open."""

    def __init__(self, store: Store, url: str, browser: Chromium) -> None:
        self.store, self.url, self.browser = store, url, browser
        self.diagnosis = NOTHING

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


def small_store() -> Store:
    made = new_store(ZONES)
    for name, rtts in RTTS.items():
        made.answered(name, row(name, rtts))
    made.failed("node4", AskError(Failure.TIMEOUT, "does not answer in time"))
    return made


NOTHING = diagnosis_documents.document()


def routes_of(store: Store, diagnosis: Callable[[], Mapping[str, Any]] = lambda: NOTHING) -> Mapping[str, Route]:
    """The collector's routes. `diagnosis` returns what it answers about what is broken, its times relative to NOW."""

    def answer(_: Request) -> Response:
        return Response(json.dumps(moved(diagnosis(), time.time() - diagnosis_documents.NOW)).encode())

    routes = collector_routes(
        store,
        lambda source, to: DETAIL,
        CollectorMetrics(store),
        healthy=lambda: None,
        ready=lambda: None,
        interval_seconds=0.2,
    )
    return {**routes, "/api/v1/diagnosis": answer}


def moved(value: Any, seconds: float) -> Any:
    """A document with all its `unix_seconds` moved by so many seconds."""
    if isinstance(value, list):
        return [moved(each, seconds) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: each + seconds if key.endswith("unix_seconds") and each is not None else moved(each, seconds)
        for key, each in value.items()
    }


@contextmanager
def served_page() -> Iterator[Served]:
    """Yield the small store's page. Afterwards: it had no error, broke no policy and asked no other server."""
    store = small_store()
    routes = routes_of(store, lambda: page.diagnosis)
    with MetricsServer([("127.0.0.1", 0)], routes) as server, Chromium() as browser:
        url = f"http://127.0.0.1:{server.port}"
        page = Served(store, url, browser)
        yield page
        assert browser.complaints == []
        assert {address for address in browser.requested if not address.startswith(f"{url}/")} <= {"about:blank"}
