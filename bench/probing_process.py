"""A process that probes on command, with monlat or with icmplib, so that a bench can put a load on it.

    python -m bench.probing_process monlat|icmplib ADDRESS

It reads commands, one a line. It answers `probe COUNT` with a JSON list of COUNT entries: the round-trip time in
nanoseconds, or for a probe without a reply a string that says how it ended. `busy` starts a thread that computes
without end, `calm` ends it. The answer to both is `null`, given once it is done.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Literal

from bench.commanded_process import CommandedProcess
from monlat_ebpf.testbed.namespace import Namespace

INTERVAL_SECONDS = 0.02
TIMEOUT_SECONDS = 0.3  # less than 16 intervals: a target has 16 slots

Probe = Callable[[int], list[int | str]]


class ProbingProcess(CommandedProcess):
    """The process, seen from outside: a context manager; `probe` from one thread."""

    def __init__(self, namespace: Namespace, tool: Literal["monlat", "icmplib"], address: str) -> None:
        self.name = tool
        # ten probes import what is imported late, and resolve the link-layer address
        super().__init__(namespace, "bench.probing_process", tool, address, ready="probe 10")

    def probe(self, count: int) -> list[int]:
        """Send `count` probes, one in INTERVAL_SECONDS, and return the round-trip times of the replies, in ns."""
        rtts = []
        for sequence, ended in enumerate(self.ask(f"probe {count}")):
            if isinstance(ended, int):
                rtts.append(ended)
            else:
                print(f"{self.name}: no reply to probe {sequence} of {count}: {ended}", file=sys.stderr)
        return rtts

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let a thread of the process compute without end, for the block."""
        self.ask("busy")
        try:
            yield
        finally:
            self.ask("calm")


def monlat(address: str) -> Probe:
    """Return a function that probes as the agent does, each call with a new Prober on the one source."""
    from monlat_ebpf.abi.probes import TableSize
    from monlat_ebpf.model import Peer
    from monlat_ebpf.probing.feedback import FeedbackChannel
    from monlat_ebpf.probing.ledger import Outcome
    from monlat_ebpf.probing.prober import Prober
    from monlat_ebpf.sources.tracepoint.source import TracepointSource

    source = TracepointSource(TableSize(targets=2))

    def probe(count: int) -> list[int | str]:
        outcomes: list[Outcome] = []
        prober = Prober(
            source,
            interval_seconds=INTERVAL_SECONDS,
            timeout_seconds=TIMEOUT_SECONDS,
            max_peers=1,
            node="bench",
            count=count,
            feedback=FeedbackChannel.of(source),
            on_outcome=lambda _target, outcome: outcomes.append(outcome),
        )
        prober.set_peers([Peer("peer", (ip_address(address),))])
        prober.run()
        return [str(outcome) if outcome.rtt_ns is None else outcome.rtt_ns for outcome in outcomes]

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
