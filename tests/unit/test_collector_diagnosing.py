"""Windows are decided one after another: never two at once, and a defect in one does not end the collector."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from monlat_ebpf.collector.diagnosing import Diagnosing
from monlat_ebpf.collector.slots import Slots
from monlat_ebpf.collector.store import NodeView
from monlat_ebpf.collector.windows import Windows

INTERVAL = 0.02


def run_until(diagnosing: Diagnosing, condition: Callable[[], bool]) -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            task = asyncio.create_task(diagnosing.run(executor))
            async with asyncio.timeout(60):
                while not condition():
                    await asyncio.sleep(INTERVAL / 4)
            task.cancel()

    asyncio.run(run())


def diagnosing_of(windows: Windows, nodes: Callable[[], Sequence[NodeView]]) -> Diagnosing:
    return Diagnosing(windows, Slots(INTERVAL), nodes, grace_seconds=0.0, observe=lambda _: None)


def test_decisions_that_take_too_long_make_windows_longer(caplog: pytest.LogCaptureFixture) -> None:
    """Each takes a whole interval, until a window has more than two. The log names both lengths."""
    windows = Windows(Slots(INTERVAL))
    busy = 0

    def nodes() -> Sequence[NodeView]:
        nonlocal busy
        busy += 1
        assert busy == 1, "two windows are decided at once"
        time.sleep(INTERVAL)
        busy -= 1
        return ()

    with caplog.at_level(logging.WARNING):
        run_until(diagnosing_of(windows, nodes), lambda: windows.length >= 4)
    assert windows.seconds == windows.length * INTERVAL
    assert caplog.messages[0].startswith("deciding about a window of 20ms took ")
    assert caplog.messages[0].endswith("windows are 40ms from now on")
    assert caplog.messages[1].endswith("windows are 80ms from now on")


def test_defect_in_each_decision_is_logged_once_and_the_next_window_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    """No number of a window is given for it."""
    calls = 0

    def nodes() -> Sequence[NodeView]:
        nonlocal calls
        calls += 1
        raise KeyError("a defect")

    diagnosing = diagnosing_of(Windows(Slots(INTERVAL)), nodes)
    run_until(diagnosing, lambda: calls >= 3)
    assert diagnosing.last.window == 0
    assert [record.message for record in caplog.records if record.exc_info] == [
        "a window could not be diagnosed; the next ones that fail are not logged"
    ]
