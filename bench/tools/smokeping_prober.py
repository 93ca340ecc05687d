"""Debian's prometheus-smokeping-prober. Its histogram is too coarse for this; its debug log tells each reply's RTT."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.tools.scraping import scraped_without_pause
from bench.tools.tool import USER, Run, Sample, Task
from monlat_ebpf.testbed.namespace import Namespace
from testkit.waiting import wait_until

PROGRAM = "prometheus-smokeping-prober"  # Debian's package has the same name
_PORT = 9374
_REPLY = re.compile(r'msg="Echo reply" ip_addr=(\S+) bytes_received=\d+ icmp_seq=(\d+) time=(\S+) ')
_NANOSECONDS = {"s": 1e9, "ms": 1e6, "µs": 1e3, "ns": 1}
_DURATION = re.compile(r"([\d.]+)(s|ms|µs|ns)")  # Go writes 1m and more too: never here


class SmokepingProber:
    name = "smokeping_prober"
    stamps = (USER, USER)
    renders = True

    def version(self) -> str:
        done = subprocess.run((PROGRAM, "--version"), capture_output=True, text=True, check=True)
        return (done.stdout + done.stderr).split()[2]

    @contextmanager
    def started(self, namespace: Namespace, task: Task) -> Iterator[Run]:
        with tempfile.TemporaryDirectory() as folder:
            log, config = Path(folder) / "log", Path(folder) / "config.yml"
            network = {"network": "ip4", "protocol": "icmp", "interval": f"{round(task.interval_seconds * 1e3)}ms"}
            config.write_text(yaml.safe_dump({"targets": [{"hosts": list(task.targets), **network}]}))
            with log.open("w") as output:
                process = namespace.popen(
                    (
                        *(PROGRAM, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{_PORT}"),
                        "--log.level=debug",
                    ),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            run = _Prober(process.pid, namespace, task, log)

            def is_under_way() -> bool:
                if process.poll() is not None:
                    raise RuntimeError(f"{PROGRAM} ended: {log.read_text()}")
                return {sample.address for sample in run.samples()} == set(task.targets)

            try:
                wait_until(is_under_way, f"{PROGRAM} does not measure all targets")
                yield run
            finally:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class _Prober:
    pid: int
    namespace: Namespace
    task: Task
    log: Path

    def rendering(self) -> AbstractContextManager[object]:
        return scraped_without_pause(self.namespace, _PORT)

    def work(self) -> None:
        before = len(self.samples())
        wanted = self.task.count * len(self.task.targets)
        deadline = time.monotonic() + self.task.seconds
        pause = max(self.task.count * self.task.interval_seconds / 4, 0.1)  # each look reads the whole log
        while len(self.samples()) - before < wanted and time.monotonic() < deadline:
            time.sleep(pause)

    def samples(self) -> list[Sample]:
        replies = _REPLY.findall(self.log.read_text())
        return [Sample(address, int(sequence), go_duration_ns(time)) for address, sequence, time in replies]


def go_duration_ns(text: str) -> int:
    """Return the ns of a duration below a minute as Go prints it, such as `491.472µs`."""
    matched = _DURATION.fullmatch(text)
    if matched is None:
        raise ValueError(f"{PROGRAM} printed the duration {text!r}")
    return round(float(matched[1]) * _NANOSECONDS[matched[2]])
