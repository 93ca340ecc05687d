"""The pages on a real demo of five nodes: every pair, what is broken, the keyboard, and the page of an agent."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest

from monlat_ebpf.cli.demo_cluster import Demo
from monlat_ebpf.config import DEFAULT_PORT
from monlat_ebpf.diagnosis.past import LEARNED
from monlat_ebpf.testbed.damage import Damage
from monlat_ebpf.testbed.links import Links
from monlat_ebpf.testbed.network import Node
from testkit.chromium import Chromium

NAMES = [f"node{number}" for number in range(1, 6)]
WINDOWS_ALLOWED = 5  # 10 s: the demo's windows are of two seconds
WINDOWS_AFTER = 3  # in which nothing else may be named
WINDOW = "Number(document.querySelector('#window').textContent.match(/^Window (\\d+)/)?.[1] ?? 0)"
"""The number of the last closed window, as the page shows it; 0 without one."""
TITLES = "[...document.querySelectorAll('#diagnoses > li > button')].map((each) => each.textContent)"
RECORD = (
    f"window.named = new Set(); new MutationObserver(() => {{ for (const each of {TITLES}) window.named.add(each); }})"
    ".observe(document.querySelector('#diagnoses'), { childList: true, characterData: true, subtree: true })"
)
"""Keeps each title that was shown, however shortly."""
BUSY = "it runs too rarely"  # an agent, on a machine whose tests take all of it: true, and not what is tested here
TABLE = "[...document.querySelectorAll('{} tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with Demo(len(NAMES), listen=("127.0.0.1", 0)) as running:
        yield running


@contextmanager
def opened(url: str, popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen) -> Iterator[Chromium]:
    """Yield a browser that shows the page. Afterwards: no error, no violation, no other server was asked."""
    with Chromium(popen=popen) as browser:
        browser.open(url)
        yield browser
        assert browser.complaints == []
        assert [each for each in browser.requested if not each.startswith(url)] == []


@pytest.fixture
def page(demo: Demo) -> Iterator[Chromium]:
    """The collector's page when nothing is broken, and what is usual is known."""
    assert demo.collector is not None
    with opened(f"{demo.collector.url}/") as browser:
        browser.wait_for("document.querySelector('#diagnosis')?.dataset.meaning === 'ok'")
        browser.wait_for(f"{WINDOW} > {LEARNED}")
        yield browser


def slow(demo: Demo) -> AbstractContextManager[object]:
    return Damage(demo.cluster, [demo.cluster["node3"]], all_but_node3(demo), delay_seconds=0.005)


def cut_one_way(demo: Demo) -> AbstractContextManager[object]:
    return Damage(demo.cluster, [demo.cluster["node3"]], all_but_node3(demo), loss=1.0)


@contextmanager
def stopped(demo: Demo) -> Iterator[None]:
    port = demo.cluster.port_of(demo.cluster["node3"])
    with Links(demo.cluster.switch) as links:
        links.set_up(port, up=False)
        try:
            yield
        finally:
            links.set_up(port)
            links.wait_until_usable(port)


def all_but_node3(demo: Demo) -> Sequence[Node]:
    return [node for node in demo.cluster if node.name != "node3"]


def test_every_pair_is_shown_with_its_number(page: Chromium) -> None:
    """20 cells, each a time; the diagonal is the node itself."""
    page.wait_for("document.querySelector('#matrix-title').textContent === 'RTT, last: 5 \u00d7 5 nodes'")
    page.run("document.querySelector('#table-part').open = true")
    page.wait_for(
        f"{TABLE.format('#table')}.flat().filter((text) => /^[0-9.]+ (\u00b5s|ms)$/.test(text)).length === 20"
    )
    cells = page.run(TABLE.format("#table"))
    assert [row[0] for row in cells] == NAMES
    assert [row[number + 1] for number, row in enumerate(cells)] == ["the node itself"] * 5


def test_keyboard_alone_reaches_the_detail_of_a_pair(page: Chromium) -> None:
    """From the top of the page: Tab until the matrix has the focus, arrows to node1's second column, Enter."""
    for _ in range(20):
        if page.run("document.activeElement.id") == "map":
            break
        page.press("Tab")
    page.press("ArrowRight", "ArrowRight", "ArrowDown", "ArrowRight", "Enter")
    page.wait_for("document.querySelector('#directions').innerText.includes('by the driver')")
    assert page.run("document.querySelector('#pair-title').innerText") == "node2 and node3"
    assert page.run("document.querySelectorAll('#directions article').length") == 2
    assert page.run("document.activeElement.id") == "pair-title"


@pytest.mark.parametrize(
    ("fault", "title"),
    [(slow, "node node3"), (cut_one_way, "node node3 (what it sends)"), (stopped, "node node3")],
    ids=["slow node", "cable cut one way", "stopped node"],
)
def test_page_names_what_is_broken_and_nothing_else(
    demo: Demo, page: Chromium, fault: Callable[[Demo], AbstractContextManager[object]], title: str
) -> None:
    """Within five windows, 10 s, and for three more; its row and column are outlined. Repaired, nothing is broken."""
    page.run(f"{RECORD}; true")
    with fault(demo):
        began = page.run(WINDOW)
        page.wait_for(f"{TITLES}.length > 0")
        found = page.run(WINDOW)
        assert found - began <= WINDOWS_ALLOWED
        page.wait_for(f"{WINDOW} >= {found + WINDOWS_AFTER}")
        named = page.run("[...window.named]")
        others = [each for each in named if each.split(" (")[0] != "node node3"]
        assert all(BUSY in each for each in others), others
        assert title in page.run(f"{TITLES}[0]")
        page.run("document.querySelector('#diagnoses button').click()")
        page.wait_for("location.hash === '#diagnosis=node%2Fnode3'")
        assert "node node3" in page.run("document.querySelector('#news').textContent")
        assert "node3" in page.run("document.querySelector('#worst small').textContent")
    page.wait_for("document.querySelector('#diagnosis').dataset.meaning === 'ok'")


def test_page_of_an_agent_has_its_row(demo: Demo) -> None:
    """node2's: four peers, each with the RTT of one of the last probes, and stamps by the driver; a peer's detail."""
    with opened(f"http://127.0.0.1:{DEFAULT_PORT}/", popen=demo.cluster["node2"].namespace.popen) as browser:
        browser.wait_for("document.querySelectorAll('#peers tbody tr').length === 4")
        rows = TABLE.format("#peers")
        assert browser.run(f"{rows}.map((row) => row[0])") == ["node1", "node3", "node4", "node5"]
        browser.wait_for(f"{rows}.every((row) => /^[0-9.]+ (\u00b5s|ms)$/.test(row[1]))")
        browser.wait_for("document.querySelector('#facts').innerText.includes('100 % by the driver')")
        browser.run("document.querySelectorAll('#peers tbody button')[1].click()")
        browser.wait_for("document.querySelectorAll('#directions tbody tr').length >= 4")
        assert browser.run("document.querySelector('#pair-title').innerText") == "node2 to node3"
