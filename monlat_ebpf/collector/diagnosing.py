"""Has each closed window diagnosed, in a thread of its own, and keeps the last report.

The next window is not closed before the last one is decided, so decisions never pile up. When one takes longer than
`MOST_OF_WINDOW` of a window, windows become twice as long, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final

from monlat_ebpf.collector.slots import Slots
from monlat_ebpf.collector.store import NodeView
from monlat_ebpf.collector.windows import Windows
from monlat_ebpf.config_text import duration_text
from monlat_ebpf.diagnosis.diagnoser import Diagnoser, Report
from monlat_ebpf.diagnosis.hysteresis import Diagnosis
from monlat_ebpf.diagnosis.window import Node

MOST_OF_WINDOW: Final = 0.5
LONGEST_SECONDS: Final = 600.0
"""A window that is as long is not made longer: what lasts some minutes would not be seen in it."""

_POLL_SECONDS: Final = 0.05

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is known after the last closed window.

    `window` counts windows from 1, and is 0 before the first; `unix_seconds` is when the last one closed.
    `since_unix_seconds` has the same for the windows in which the diagnoses were first found.
    """

    window_seconds: float = 0.0
    window: int = 0
    unix_seconds: float | None = None
    diagnoses: tuple[Diagnosis, ...] = ()
    since_unix_seconds: dict[int, float] = field(default_factory=dict)


class Diagnosing:
    """Decides about one window after another. `observe` gets the seconds that each decision took."""

    def __init__(
        self,
        windows: Windows,
        slots: Slots,
        nodes: Callable[[], Sequence[NodeView]],
        *,
        grace_seconds: float,
        observe: Callable[[float], None],
    ) -> None:
        """Agents have `grace_seconds` to answer after the last of them was asked."""
        self._windows = windows
        self._slots = slots
        self._nodes = nodes
        self._grace_seconds = grace_seconds
        self._observe = observe
        self._diagnoser = Diagnoser()
        self.last = Decision(windows.seconds)
        """The last decision; may be read in any thread."""

    async def run(self, executor: Executor) -> None:
        """Decide about windows until cancelled; `executor` does the work."""
        loop = asyncio.get_running_loop()
        slot = self._windows.next_end(time.monotonic())
        has_failed = False
        while True:
            await self._wait_until_closed(slot)
            began = time.monotonic()
            try:
                await loop.run_in_executor(executor, self._decide, slot)
                has_failed = False
            except Exception:  # noqa: BLE001  # a defect must not end the matrix; the number of windows stands still
                if not has_failed:
                    _LOG.exception("a window could not be diagnosed; the next ones that fail are not logged")
                has_failed = True
            self._limit(time.monotonic() - began)
            slot = self._windows.next_end(time.monotonic(), after=slot)

    async def _wait_until_closed(self, slot: int) -> None:
        """Wait until all agents have answered in `slot`, or the time to do so is over."""
        ends = self._slots.all_asked(slot)
        await asyncio.sleep(max(ends - time.monotonic(), 0))
        while time.monotonic() < ends + self._grace_seconds and not self._windows.is_complete(slot):
            await asyncio.sleep(_POLL_SECONDS)

    def _decide(self, slot: int) -> None:
        nodes = [Node(view.name, view.zone) for view in self._nodes()]
        nodes.sort(key=lambda node: (node.zone, node.name))
        window = self._windows.close(slot, nodes, time.monotonic())
        if window is None:
            return
        began = time.monotonic()
        report = self._diagnoser.decide(window)
        self._observe(time.monotonic() - began)
        self._keep(report)

    def _keep(self, report: Report) -> None:
        now = round(time.time(), 3)
        known = {**self.last.since_unix_seconds, report.number: now}
        since = {each.since for each in report.diagnoses}
        self.last = Decision(
            self._windows.seconds,
            report.number,
            now,
            report.diagnoses,
            {number: at for number, at in known.items() if number in since},
        )

    def _limit(self, seconds: float) -> None:
        length = self._windows.seconds
        if seconds > MOST_OF_WINDOW * length and 2 * length <= LONGEST_SECONDS:
            self._windows.lengthen()
            _LOG.warning(
                "deciding about a window of %s took %s: windows are %s from now on",
                *map(duration_text, (length, round(seconds, 1), 2 * length)),
            )
