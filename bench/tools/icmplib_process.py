"""icmplib in a Python process of its own, as a small exporter has it; `python -m bench.tools.icmplib_process` is that.

The process reads lines of JSON, each a task, `render` or `calm`, and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.tools.tool import TIMEOUT_SECONDS, USER, Run, Sample, Task
from monlat_ebpf.testbed.namespace import Namespace

_ROOT = Path(__file__).resolve().parent.parent.parent
_RENDER, _CALM = "render", "calm"
_SERIES = 1000


class Icmplib:
    name = "icmplib"
    stamps = (USER, USER)
    renders = True

    def version(self) -> str:
        return version("icmplib")

    @contextmanager
    def started(self, namespace: Namespace, task: Task) -> Iterator[Run]:
        process = namespace.popen(
            (sys.executable, "-m", __name__), cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        run = _Process(process, task)
        try:
            run.ask(_CALM)
            yield run
        finally:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class _Process:
    process: subprocess.Popen[str]
    task: Task
    found: list[Sample] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    @contextmanager
    def rendering(self) -> Iterator[None]:
        self.ask(_RENDER)
        try:
            yield
        finally:
            self.ask(_CALM)

    def work(self) -> None:
        self.found.extend(Sample(*fields) for fields in self.ask(asdict(self.task)))

    def samples(self) -> list[Sample]:
        return self.found

    def ask(self, order: object) -> Any:
        if self.process.stdin is None or self.process.stdout is None:
            raise AssertionError("pipes were asked for")
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the process of icmplib died: see what it said above")
        return json.loads(answer)


# inside the process


def samples_of(targets: list[str], count: int, interval_seconds: float, seconds: float) -> list[Sample]:
    """Probe one target with icmplib.ping, many with icmplib.multiping once an interval.

    icmplib leaves lost probes out of its list and does not say which. So a list with a loss is not used.
    """
    from icmplib import multiping, ping

    if len(targets) == 1:
        host = ping(targets[0], count=count, interval=interval_seconds, timeout=TIMEOUT_SECONDS)
        return [Sample(targets[0], nth, round(ms * 1e6)) for nth, ms in enumerate(host.rtts) if len(host.rtts) == count]
    samples: list[Sample] = []
    begin = time.monotonic()
    for nth in range(count):
        time.sleep(max(begin + nth * interval_seconds - time.monotonic(), 0))
        if time.monotonic() > begin + seconds:
            break
        hosts = multiping(targets, count=1, timeout=TIMEOUT_SECONDS)
        samples += [Sample(host.address, nth, round(ms * 1e6)) for host in hosts for ms in host.rtts]
    return samples


def render_until(calm: threading.Event) -> None:
    """Render metrics of prometheus-client over and over."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    gauge = Gauge("rtt_seconds", "RTT.", ["to"], registry=registry)
    for number in range(_SERIES):
        gauge.labels(f"node{number}").set(number / 7)
    while not calm.is_set():
        generate_latest(registry)


def main() -> None:
    calm, thread = threading.Event(), None
    for line in sys.stdin:
        order, answer = json.loads(line), None
        if order == _RENDER:
            calm.clear()
            thread = threading.Thread(target=render_until, args=(calm,), daemon=True)
            thread.start()
        elif order == _CALM:
            calm.set()
            if thread is not None:
                thread.join()
        else:
            answer = samples_of(**order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
