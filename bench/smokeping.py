"""Debian's prometheus-smokeping-prober, measured by what it serves at /metrics."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from bench.ended import Ended
from bench.probing_process import INTERVAL_SECONDS
from monlat_ebpf.testbed.namespace import Namespace
from testkit.waiting import wait_until

PROGRAM: Final = "prometheus-smokeping-prober"  # Debian's package has the same name
_LISTEN: Final = "127.0.0.1:9374"
_EDGES: Final = [2.0 ** (k / 8) for k in range(-18 * 8, 2 * 8)]  # seconds; as fine as monlat's own
_BUCKET: Final = r'^smokeping_response_duration_seconds_bucket\{{.*ip="{}",le="([^"]+)"\}} (\S+)$'


class Smokeping(Ended):
    """The process, which probes `address` all the time from its start to its end; a context manager."""

    name = "smokeping"

    def __init__(self, namespace: Namespace, address: str) -> None:
        self._namespace = namespace
        self._bucket = re.compile(_BUCKET.format(re.escape(address)), re.MULTILINE)  # Debian's file adds localhost
        self._process = namespace.popen(
            [
                *(PROGRAM, f"--web.listen-address={_LISTEN}", f"--ping.interval={INTERVAL_SECONDS}s"),
                *(f"--buckets={','.join(map(repr, _EDGES))}", "--log.level=error", address),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def probe(self, count: int) -> list[int]:
        """Return `count` round-trip times or somewhat more, in ns; of each only its bucket's upper edge is known."""
        before = self._buckets()
        while True:
            time.sleep(count * INTERVAL_SECONDS / 2)
            now = self._buckets()
            if now[-1][1] - before[-1][1] >= count:
                break
        samples: list[int] = []
        below = 0
        for (edge, then), (_, total) in zip(before, now, strict=True):
            samples += [int(min(edge, _EDGES[-1]) * 1e9)] * (total - then - below)
            below = total - then
        return samples

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let the process render its metrics without pause, for the block."""
        calm = threading.Event()

        def scrape_until_calm() -> None:
            with self._namespace.entered():
                while not calm.is_set():
                    self._scrape()

        thread = threading.Thread(target=scrape_until_calm)
        thread.start()
        try:
            yield
        finally:
            calm.set()
            thread.join()

    def _buckets(self) -> list[tuple[float, int]]:
        """Return upper edge in seconds and cumulative count of each bucket; the last edge is infinite."""
        with self._namespace.entered():
            text = self._scrape()
        return [(float(edge), int(float(count))) for edge, count in self._bucket.findall(text)]

    def _scrape(self) -> str:
        with urlopen(f"http://{_LISTEN}/metrics", timeout=60) as response:
            return str(response.read(), "utf-8")

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"{PROGRAM} ended: see what it said above")
        try:
            return bool(self._buckets()[-1][1] > 0)
        except (URLError, IndexError):  # not listening yet, or nothing measured yet
            return False

    def _begin(self) -> None:
        wait_until(self._answers, f"{PROGRAM} measures nothing")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
