"""Debian's prometheus-blackbox-exporter: each scrape of /probe sends one echo and tells its RTT."""

from __future__ import annotations

import random
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bench.tools.scraping import Scraper, scraped_without_pause
from bench.tools.tool import TIMEOUT_SECONDS, USER, Run, Sample, Task
from monlat_ebpf.testbed.namespace import Namespace
from testkit.waiting import wait_until

PROGRAM = "prometheus-blackbox-exporter"  # Debian's package has the same name
_PORT = 9115
_SCRAPERS = 8  # a Prometheus has as many connections as targets
_RTT = re.compile(r'^probe_icmp_duration_seconds\{phase="rtt"\} (\S+)$', re.MULTILINE)
_SUCCESS = re.compile(r"^probe_success 1$", re.MULTILINE)
_MODULES = {
    "modules": {
        "icmp": {"prober": "icmp", "timeout": f"{TIMEOUT_SECONDS:g}s", "icmp": {"preferred_ip_protocol": "ip4"}}
    }
}


class BlackboxExporter:
    name = "blackbox_exporter"
    stamps = (USER, USER)
    renders = True

    def version(self) -> str:
        done = subprocess.run((PROGRAM, "--version"), capture_output=True, text=True, check=True)
        return (done.stdout + done.stderr).split()[2]

    @contextmanager
    def started(self, namespace: Namespace, task: Task) -> Iterator[Run]:
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.yml"
            config.write_text(yaml.safe_dump(_MODULES))
            process = namespace.popen(
                (
                    *(PROGRAM, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{_PORT}"),
                    "--log.level=error",
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            try:
                with closing(Scraper(namespace, _PORT)) as scraper:
                    wait_until(lambda: scraper.answers("/metrics"), f"{PROGRAM} does not answer")
                yield _Exporter(process.pid, namespace, task)
            finally:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class _Exporter:
    pid: int
    namespace: Namespace
    task: Task
    found: list[Sample] = field(default_factory=list)

    def rendering(self) -> AbstractContextManager[object]:
        return scraped_without_pause(self.namespace, _PORT)

    def work(self) -> None:
        """Scrape as Prometheus does: each target at its own offset in the interval, by a hash."""
        share = min(_SCRAPERS, len(self.task.targets))
        begin = time.monotonic()
        offsets = sorted((random.Random(target).random(), target) for target in self.task.targets)
        threads = [threading.Thread(target=self._scrape, args=(begin, offsets[first::share])) for first in range(share)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def samples(self) -> list[Sample]:
        return self.found

    def _scrape(self, begin: float, targets: Sequence[tuple[float, str]]) -> None:
        """Scrape these targets in turn, each at its offset in the interval, or as soon as the last has answered."""
        with closing(Scraper(self.namespace, _PORT)) as scraper:
            for nth in range(self.task.count):
                for offset, target in targets:
                    due = begin + (nth + offset) * self.task.interval_seconds
                    time.sleep(max(due - time.monotonic(), 0))
                    if time.monotonic() > begin + self.task.seconds:
                        return
                    text = scraper.get(f"/probe?module=icmp&target={target}")
                    rtt = _RTT.search(text)
                    if rtt is not None and _SUCCESS.search(text):
                        self.found.append(Sample(target, nth, round(float(rtt[1]) * 1e9)))
