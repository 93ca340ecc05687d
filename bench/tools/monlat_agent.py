"""A real `monlat agent`, asked by HTTP for its last probes as `monlat explain` asks."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import monlat_ebpf
from bench.tools.scraping import Scraper, scraped_without_pause
from bench.tools.tool import KERNEL, TIMEOUT_SECONDS, Sample, Task
from monlat_ebpf.abi import layout
from monlat_ebpf.exposition.peer_detail import ProbeDocument
from monlat_ebpf.testbed.namespace import Namespace
from testkit.waiting import wait_until

_PORT = 10045
_ROOT = Path(__file__).resolve().parent.parent.parent


class Monlat:
    name = "monlat"
    stamps = (KERNEL, KERNEL)
    renders = True

    def version(self) -> str:
        return monlat_ebpf.__version__

    @contextmanager
    def started(self, namespace: Namespace, task: Task) -> Iterator[Agent]:
        interval_ms = round(task.interval_seconds * 1e3)
        timeout_ms = min(round(TIMEOUT_SECONDS * 1e3), interval_ms * (layout.PROBES_PER_TARGET - 1))  # its own bound
        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
            peers = Path(folder) / "peers.yaml"
            peers.write_text("".join(f'- {{name: "{to}", addresses: ["{to}"]}}\n' for to in task.targets))
            process = namespace.popen(
                (
                    *(sys.executable, "-m", "monlat_ebpf", "agent", "--node-name", "bench", "--source", "tracepoint"),
                    *("--peers", str(peers), "--probe-neighbours", "all", "--listen", f"127.0.0.1:{_PORT}"),
                    *("--interval", f"{interval_ms}ms", "--timeout", f"{timeout_ms}ms"),
                ),
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            scraper = Scraper(namespace, _PORT)

            def is_ready() -> bool:
                if process.poll() is not None:
                    raise RuntimeError(f"the agent ended: {(Path(folder) / 'log').read_text()}")
                return scraper.answers("/readyz")

            try:
                wait_until(is_ready, "the agent is not ready")
                yield Agent(process.pid, namespace, task, scraper)
            finally:
                scraper.close()
                process.kill()
                process.wait()


@dataclass
class Agent:
    pid: int
    namespace: Namespace
    task: Task
    scraper: Scraper
    found: dict[tuple[str, int], Sample] = field(default_factory=dict)

    def rendering(self) -> AbstractContextManager[object]:
        return scraped_without_pause(self.namespace, _PORT)

    def work(self) -> None:
        """Ask as often as needed that no probe is forgotten between, if the agent can answer so fast."""
        usual = self.task.count * self.task.interval_seconds
        if len(self.task.targets) > 1:
            assert self.task.count < layout.PROBES_PER_TARGET, "the agent forgets probes before it is asked"
            time.sleep(usual)
            return
        pause = min(0.6 * self.task.interval_seconds * layout.PROBES_PER_TARGET, usual)
        self._ask()
        known = len(self.found)
        deadline = time.monotonic() + self.task.seconds
        while len(self.found) - known < self.task.count and time.monotonic() < deadline:
            time.sleep(pause)
            self._ask()

    def samples(self) -> list[Sample]:
        self._ask()
        return list(self.found.values())

    def probes(self) -> Iterator[tuple[str, ProbeDocument]]:
        """Yield the last probes to each target that have ended, with its address."""
        for target in self.task.targets:
            document = json.loads(self.scraper.get(f"/api/v1/peers?peer={target}"))
            for probe in document["pairs"][0]["probes"]:
                yield target, probe

    def _ask(self) -> None:
        for target, probe in self.probes():
            if probe["rtt_seconds"] is not None:
                nth = probe["sequence"]
                self.found[target, nth] = Sample(target, nth, round(probe["rtt_seconds"] * 1e9))
