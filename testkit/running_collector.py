"""`monlat collect` as a process, for tests and benches."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from testkit.waiting import wait_until

_PORT = re.compile(r"monlat_ebpf\.collector\.collector: port (\d+)")


class RunningCollector:
    """A collector that listens: its `process`, `url` and log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        found = _PORT.search(self.log)
        assert found, self.log
        return f"http://127.0.0.1:{found[1]}"

    def get(self, path: str) -> bytes:
        """Return the body of a path. Raises HTTPError."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + path, timeout=20) as answer:
            body: bytes = answer.read()
            return body

    def matrix(self, measure: str = "rtt") -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.get(f"/api/v1/matrix?measure={measure}"))
        return document

    def pair(self, source: str, to: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.get(f"/api/v1/pair?{urlencode({'from': source, 'to': to})}"))
        return document

    def diagnosis(self, query: str = "") -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.get(f"/api/v1/diagnosis{query}"))
        return document

    def node(self, name: str) -> dict[str, Any]:
        return next(node for node in self.matrix()["nodes"] if node["name"] == name)


@contextmanager
def running_collector(
    directory: Path,
    *arguments: str,
    popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
    listen: Sequence[str] = ("--listen", "127.0.0.1:0"),
) -> Iterator[RunningCollector]:
    """Run `monlat collect` and yield it when it listens; afterwards it must end by SIGTERM with status 0."""
    log = directory / "collector.log"
    command = [sys.executable, "-P", "-m", "monlat_ebpf", "collect", *listen, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MONLAT_")}
    with log.open("wb") as stream:
        process = popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    try:
        collector = RunningCollector(process, log)
        wait_until(lambda: _PORT.search(collector.log) or process.poll() is not None)
        assert process.poll() is None, collector.log
        yield collector
        process.terminate()
        assert process.wait(20) == 0, collector.log
    finally:
        process.kill()
        process.wait()
