"""A process that probes when told to, with monlat or with icmplib, so that a load can be put on it.

    python -m bench.probing_process monlat|icmplib ADDRESS

It reads lines: `probe COUNT` is answered with a JSON list of as many round-trip times in nanoseconds (a string says
what became of a probe without a reply), `busy` starts a thread that computes without end, `calm` ends it; both are
answered with `null` once that is so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from monlat_ebpf.testbed.namespace import Namespace

INTERVAL_SECONDS = 0.02
TIMEOUT_SECONDS = 0.3  # within as many intervals as monlat has places for one target

ROOT = Path(__file__).resolve().parent.parent
Probe = Callable[[int], list[int | str]]


class ProbingProcess:
    """The process, seen from outside: a context manager; `probe` from one thread."""

    def __init__(self, namespace: Namespace, tool: Literal["monlat", "icmplib"], address: str) -> None:
        self.name = tool
        self._process = namespace.popen(
            [sys.executable, "-m", "bench.probing_process", tool, address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def probe(self, count: int) -> list[int]:
        """Send `count` probes, one in INTERVAL_SECONDS, and return the round-trip times of the replies, in ns."""
        rtts = []
        for sequence, ended in enumerate(self._ask(f"probe {count}")):
            if isinstance(ended, int):
                rtts.append(ended)
            else:
                print(f"{self.name}: no reply to probe {sequence} of {count}: {ended}", file=sys.stderr)
        return rtts

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let a thread of the process compute without end, for the block."""
        self._ask("busy")
        try:
            yield
        finally:
            self._ask("calm")

    def _ask(self, command: str) -> Any:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("pipes were asked for")
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that probes with {self.name} died: see what it said above")
        return json.loads(answer)

    def __enter__(self) -> Self:
        try:
            self._ask("probe 10")  # loads what is loaded late, and asks for the neighbour's address
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()


def monlat(address: str) -> Probe:
    """Return a function that probes as the agent does, each call with a new Prober on the one source."""
    from monlat_ebpf.abi.probes import TableSize
    from monlat_ebpf.model import Peer
    from monlat_ebpf.probing.ledger import Outcome
    from monlat_ebpf.probing.prober import Prober, Target
    from monlat_ebpf.sources.tracepoint.source import TracepointSource

    class Nothing:
        def observe(self, amount: float) -> None:
            pass

    source = TracepointSource(TableSize(targets=2))

    def probe(count: int) -> list[int | str]:
        outcomes: list[Outcome] = []

        def keep(_target: Target, outcome: Outcome) -> None:
            outcomes.append(outcome)
            if len(outcomes) >= count:
                prober.stop()

        prober = Prober(
            source,
            node="bench",
            interval_seconds=INTERVAL_SECONDS,
            timeout_seconds=TIMEOUT_SECONDS,
            max_peers=1,
            send_delay=Nothing(),
            schedule_lag=Nothing(),
            on_outcome=keep,
        )
        prober.set_peers([Peer("peer", (ip_address(address),))])
        prober.run()
        return [str(outcome) if outcome.rtt_ns is None else outcome.rtt_ns for outcome in outcomes[:count]]

    return probe


def icmplib(address: str) -> Probe:
    """Return a function that probes with icmplib.ping."""
    from icmplib import ping

    def probe(count: int) -> list[int | str]:
        host = ping(address, count=count, interval=INTERVAL_SECONDS, timeout=2)
        lost: list[int | str] = ["lost"] * (count - len(host.rtts))
        return [int(milliseconds * 1e6) for milliseconds in host.rtts] + lost

    return probe


def compute_until(calm: threading.Event) -> None:
    while not calm.is_set():
        sum(number * number for number in range(1000))


def main() -> None:
    probe = {"monlat": monlat, "icmplib": icmplib}[sys.argv[1]](sys.argv[2])
    calm, thread = threading.Event(), None
    for line in sys.stdin:
        command, *arguments = line.split()
        answer = None
        if command == "probe":
            answer = probe(int(arguments[0]))
        elif command == "busy":
            calm.clear()
            thread = threading.Thread(target=compute_until, args=(calm,), daemon=True)
            thread.start()
        elif command == "calm" and thread is not None:
            calm.set()
            thread.join()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
