"""Details are asked for while somebody looks at a pair, and only then."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from monlat_ebpf.collector.detail import Document
from monlat_ebpf.collector.fetch import AskError, Failure
from monlat_ebpf.collector.watching import LOOK_SECONDS, MOST_DIRECTIONS, Watching

INTERVAL = 0.02
Asked = Counter[tuple[str, str]]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def watching(use: Callable[[Watching, Asked, Clock], Awaitable[None]]) -> None:
    """Run `use` beside a Watching that counts what it asks. The agent of node9 does not answer."""
    asked: Asked = Counter()
    clock = Clock()

    async def ask(source: str, to: str) -> Document:
        asked[source, to] += 1
        if source == "node9":
            raise AskError(Failure.TIMEOUT, "does not answer in time")
        return {"number": asked[source, to]}

    async def run() -> None:
        watched = Watching(ask, INTERVAL, clock)
        task = asyncio.create_task(watched.run())
        try:
            await use(watched, asked, clock)
        finally:
            task.cancel()

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(INTERVAL / 4)


async def turns(asked: Asked, clock: Clock, watched: Watching) -> None:
    """Let three rounds pass: another pair is asked about three times."""
    before = asked["other", "node"]
    while asked["other", "node"] < before + 3:
        watched.detail_of("other", "node")
        clock.now += INTERVAL
        await asyncio.sleep(INTERVAL / 4)


def test_pair_is_asked_about_on_every_interval_while_it_is_looked_at() -> None:
    """The first look has no detail; then the newest one with its age."""

    async def use(watched: Watching, asked: Asked, clock: Clock) -> None:
        assert watched.detail_of("a", "b") is None
        await until(lambda: asked["a", "b"] == 1)
        clock.now += 2 * INTERVAL
        await until(lambda: asked["a", "b"] == 2)
        await until(lambda: (found := watched.detail_of("a", "b")) and found.document == {"number": 2})
        clock.now += INTERVAL / 2
        found = watched.detail_of("a", "b")
        assert found is not None
        assert found.age_seconds is not None
        assert abs(found.age_seconds - INTERVAL / 2) < 1e-9

    watching(use)


def test_pair_is_forgotten_when_nobody_looks_at_it() -> None:
    """After LOOK_SECONDS its agent is not asked any more."""

    async def use(watched: Watching, asked: Asked, clock: Clock) -> None:
        watched.detail_of("a", "b")
        await until(lambda: asked["a", "b"])
        clock.now += LOOK_SECONDS + 1
        await turns(asked, clock, watched)
        before = asked["a", "b"]
        await turns(asked, clock, watched)
        assert asked["a", "b"] == before
        assert watched.detail_of("a", "b") is None

    watching(use)


def test_newest_looks_replace_the_oldest() -> None:
    """Of 65 directions looked at, the first is left out."""

    async def use(watched: Watching, asked: Asked, clock: Clock) -> None:
        for number in range(MOST_DIRECTIONS + 1):
            watched.detail_of("a", f"node{number}")
        await until(lambda: len(asked) == MOST_DIRECTIONS)
        assert ("a", "node0") not in asked

    watching(use)


def test_failure_is_kept_with_its_reason() -> None:
    """There is no document, and no age of one."""

    async def use(watched: Watching, asked: Asked, clock: Clock) -> None:
        await until(lambda: watched.detail_of("node9", "b"))
        assert watched.detail_of("node9", "b") == (None, None, "does not answer in time")

    watching(use)
