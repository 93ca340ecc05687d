"""What the collector's page draws. Colours are expected from the rule in docs/collector.md, computed here."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from monlat_ebpf.collector.answer import LOSSES, VALUES, Row
from tests.unit.collector_page import RTTS, TIMES, ZONES, Served, peers, served_page
from tests.unit.collector_rows import row


@pytest.fixture
def served() -> Iterator[Served]:
    with served_page() as page:
        yield page


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
