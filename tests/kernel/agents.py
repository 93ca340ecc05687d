"""A real `monlat agent` in a namespace of the test bed, asked from outside as Prometheus and users ask."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from monlat_ebpf.exposition.api import PairDocument, PeersDocument
from monlat_ebpf.testbed.namespace import Namespace
from testkit.waiting import wait_until

PORT = 10045
START_SECONDS = 60
HTTP_SECONDS = 20
END_SECONDS = 20  # far below the 75 s that a silent HTTP client may stay
SCRAPE_EACH_SECONDS = 0.05  # a pause: reading a scrape takes as long as rendering it, perhaps on the same core

Labels = Mapping[str, str]


def entry(name: str, *addresses: str, zone: str = "") -> str:
    """A line of a peers file."""
    quoted = ", ".join(f'"{address}"' for address in addresses)
    return f'- {{name: {name}, addresses: [{quoted}], zone: "{zone}"}}\n'


class Scrape:
    """One answer of /metrics, parsed by prometheus_client."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.series: dict[tuple[str, frozenset[tuple[str, str]]], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def matching(self, metric: str, **labels: str) -> list[tuple[Labels, float]]:
        """The series of that name that have these labels, whatever others they have."""
        wanted = labels.items()
        return [(dict(has), value) for (name, has), value in self.series.items() if name == metric and wanted <= has]

    def has(self, metric: str, **labels: str) -> bool:
        return bool(self.matching(metric, **labels))

    def total(self, metric: str, **labels: str) -> float:
        """The sum of `matching`."""
        return sum(value for _, value in self.matching(metric, **labels))

    def one(self, metric: str, **labels: str) -> float:
        """The value of the only series that matches."""
        ((_, value),) = self.matching(metric, **labels)
        return value

    def results(self, **labels: str) -> dict[str, int]:
        """Probes that ended, by result; only the results that occurred."""
        counted: dict[str, int] = {}
        for has, value in self.matching("monlat_probe_results_total", **labels):
            counted[has["result"]] = counted.get(has["result"], 0) + int(value)
        return {result: count for result, count in counted.items() if count}

    def peers(self) -> set[str]:
        return {labels["to"] for labels, _ in self.matching("monlat_probes_sent_total")}


class RunningAgent:
    """An agent as a process, ready to be asked inside the block and gone after it.

    Its peers file, its log and its TMPDIR lie in `directory`. `before` is a command that starts the agent, such as
    `setpriv`'s. Without `peers`, `more` says where they are. With `wait` off the block begins when the process does.
    """

    def __init__(
        self,
        namespace: Namespace,
        directory: Path,
        peers: Iterable[str] | None = (),
        *,
        node: str = "node1",
        interval: str = "50ms",
        timeout: str = "300ms",
        source: str = "tracepoint",
        port: int = PORT,
        more: Sequence[str] = (),
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> None:
        self.namespace = namespace
        self.port = port
        self.temporary = directory / f"{node}-tmp"
        self._peers_file = directory / f"{node}-peers.yaml"
        self._log_file = directory / f"{node}.log"
        self._wait = wait
        self.temporary.mkdir()
        self.write_peers(peers or ())
        self._command = (
            *(*before, sys.executable, "-m", "monlat_ebpf", "agent", "--node-name", node, "--source", source),
            *(() if peers is None else ("--peers", str(self._peers_file))),
            *("--interval", interval, "--timeout", timeout),
            *("--listen", f"[::]:{port}", *more),
        )
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MONLAT_")}
        self._environment = {**kept, "TMPDIR": str(self.temporary), **(environment or {})}

    def __enter__(self) -> Self:
        with self._log_file.open("wb") as log:
            self.process: subprocess.Popen[bytes] = self.namespace.popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            if self._wait:
                self.wait_until_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill it, if it still runs."""
        self.process.kill()
        self.process.wait()

    def wait_until_ready(self) -> None:
        """Return when /readyz says so; fail with the log when the agent ends before."""

        def is_ready() -> bool:
            assert self.process.poll() is None, f"the agent ended with {self.process.returncode}: {self.log()}"
            try:
                return self.get("/readyz")[0] == 200
            except OSError:
                return False

        wait_until(is_ready, seconds=START_SECONDS)

    def end_with(self, number: signal.Signals, process_id: int | None = None) -> None:
        """Send it (or that other process) a signal; return when it has ended, fail when it has not in time."""
        os.kill(process_id or self.process.pid, number)
        self.process.wait(timeout=END_SECONDS)

    def log(self) -> str:
        return self._log_file.read_text()

    def write_peers(self, lines: Iterable[str]) -> None:
        """Replace the peers file by a rename, as editors do; no lines make an empty list."""
        new = self._peers_file.with_suffix(".new")
        new.write_text("".join(lines) or "[]\n")
        new.replace(self._peers_file)

    @property
    def peers_file(self) -> Path:
        return self._peers_file

    def get(self, path: str) -> tuple[int, str]:
        """GET from inside the namespace; return status and body. Raises OSError when nobody answers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=HTTP_SECONDS)
        try:
            with self.namespace.entered():
                connection.connect()
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except HTTPException as error:
            raise ConnectionError(f"{path}: {error!r}") from error
        finally:
            connection.close()

    def scrape(self) -> Scrape:
        status, text = self.get("/metrics")
        assert status == 200, text
        return Scrape(text)

    def answer(self) -> PeersDocument:
        """The answer of /api/v1/peers."""
        status, text = self.get("/api/v1/peers")
        assert status == 200, text
        document: PeersDocument = json.loads(text)
        return document

    def pair(self, to: str, family: str = "ipv4") -> PairDocument:
        """One pair of /api/v1/peers."""
        (found,) = (pair for pair in self.answer()["pairs"] if (pair["to"], pair["family"]) == (to, family))
        return found

    def wait_for_peers(self, *names: str) -> Scrape:
        """Return the first scrape that holds just these peers."""
        return self.wait_for_scrape(lambda scrape: scrape.peers() == set(names))

    def wait_for_scrape(self, condition: Callable[[Scrape], bool]) -> Scrape:
        """Return the first scrape for which `condition` holds."""
        deadline = time.monotonic() + START_SECONDS
        while not condition(scrape := self.scrape()):
            assert time.monotonic() < deadline, f"it did not happen; the last scrape was:\n{scrape.text}"
            time.sleep(SCRAPE_EACH_SECONDS)
        return scrape

    def wait_for_replies(self, more: int, **labels: str) -> Scrape:
        """Return a scrape with at least `more` replies than now in each series with these labels."""
        metric = "monlat_probe_results_total"
        before = {frozenset(has.items()): value for has, value in self.scrape().matching(metric, result="reply")}

        def all_answered(scrape: Scrape) -> bool:
            now = scrape.matching(metric, result="reply", **labels)
            return bool(now) and all(value >= before.get(frozenset(has.items()), 0) + more for has, value in now)

        return self.wait_for_scrape(all_answered)
