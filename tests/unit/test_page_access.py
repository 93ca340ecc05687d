"""axe-core finds no barrier in the pages, in any view. scripts/setup --dev installs it; no network is used here.

https://github.com/dequelabs/axe-core/blob/develop/doc/API.md#api-name-axerun
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bench import page_samples
from bench.page_samples import Sample
from testkit.chromium import Chromium

RUN = "axe.run().then((found) => found.violations.map((each) => `${each.id}: ${each.nodes[0].html}`))"
OPEN_TABLE = "document.querySelectorAll('details').forEach((each) => { each.open = true })"


@cache
def axe() -> str:
    return (Path(sys.prefix) / "share" / "axe.min.js").read_text()


@pytest.fixture(params=[(1280, False), (400, True)], ids=["wide and light", "narrow and dark"])
def window(request: pytest.FixtureRequest) -> tuple[int, bool]:
    """The width of the window, and whether it is dark."""
    width, is_dark = request.param
    return width, is_dark


def violations(url: str, sample: Sample, window: tuple[int, bool]) -> list[str]:
    with Chromium(window[0], 900, is_dark=window[1]) as browser:
        browser.open(url + sample.address)
        browser.wait_for(f"document.readyState === 'complete' && ({sample.shown})")
        browser.run(OPEN_TABLE)
        browser.run(f"{axe()}; true")
        assert browser.run("axe.run().then((found) => found.passes.length)") > 10
        found: list[str] = browser.run(RUN)
        return found


@pytest.fixture(scope="module")
def broken() -> Iterator[str]:
    with page_samples.collector(is_broken=True) as url:
        yield url


@pytest.mark.parametrize("sample", [*page_samples.COLLECTOR, page_samples.CHOSEN], ids=lambda sample: sample.name)
def test_collectors_page_has_no_barrier(broken: str, sample: Sample, window: tuple[int, bool]) -> None:
    """With two diagnoses, an agent that does not answer, and the table open."""
    assert violations(broken, sample, window) == []


@pytest.mark.parametrize("sample", page_samples.AGENT, ids=lambda sample: sample.name)
def test_agents_page_has_no_barrier(sample: Sample, window: tuple[int, bool]) -> None:
    """The row alone, and with a peer open."""
    with page_samples.agent() as url:
        assert violations(url, sample, window) == []


def test_axe_sees_a_barrier(broken: str) -> None:
    """A picture without a text is one: the check itself works."""
    with Chromium() as browser:
        browser.open(broken)
        browser.wait_for(f"document.readyState === 'complete' && ({page_samples.COLLECTOR[0].shown})")
        browser.run("document.querySelector('main').append(document.createElement('img'))")
        browser.run(f"{axe()}; true")
        assert [each.split(":")[0] for each in browser.run(RUN)] == ["image-alt"]
