"""A process that sends a number of probes to each of many targets and counts how they ended, for bench/losses.

    python -m bench.counting_process FIRST_ADDRESS TARGETS PROBES_PER_TARGET

It reads commands, one a line, and answers each with a line of JSON: `ended` with the number of probes that have ended,
`report`, once all have ended, with a Report.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from dataclasses import asdict
from ipaddress import IPv4Address
from typing import Any

from bench.commanded_process import CommandedProcess
from bench.losses_result import Report
from monlat_ebpf.testbed.namespace import Namespace

INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 1.0


class CountingProcess(CommandedProcess):
    """The process, seen from outside: a context manager; for use by one thread."""

    def __init__(self, namespace: Namespace, first: IPv4Address, targets: int, probes_per_target: int) -> None:
        arguments = str(first), str(targets), str(probes_per_target)
        super().__init__(namespace, "bench.counting_process", *arguments, ready="ended")

    def ended(self) -> int:
        """Return how many probes have ended."""
        return int(self.ask("ended"))

    def report(self) -> Report:
        """Wait until all have ended, and return what the agent would report of them."""
        return Report(**self.ask("report"))


def main() -> None:
    from monlat_ebpf.abi.probes import TableSize
    from monlat_ebpf.model import Peer
    from monlat_ebpf.probing.feedback import FeedbackChannel
    from monlat_ebpf.probing.prober import Prober
    from monlat_ebpf.sources.tracepoint.source import TracepointSource

    first, targets, probes_per_target = IPv4Address(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    source = TracepointSource(TableSize(targets))
    ended: Counter[str] = Counter()
    prober = Prober(
        source,
        interval_seconds=INTERVAL_SECONDS,
        timeout_seconds=TIMEOUT_SECONDS,
        max_peers=targets,
        node="bench",
        count=probes_per_target,
        feedback=FeedbackChannel.of(source),
        on_outcome=lambda _target, outcome: ended.update((outcome.result.value,)),
    )
    prober.set_peers([Peer(f"node{number}", (first + number,)) for number in range(targets)])
    running = threading.Thread(target=prober.run, daemon=True)
    running.start()
    for command in sys.stdin:
        answer: Any = ended.total()
        if command.strip() == "report":
            running.join()
            pairs = list(prober.pairs())
            answer = asdict(
                Report(
                    sent=sum(pair.sent for pair in pairs),
                    results=dict(ended),
                    in_flight=sum(pair.in_flight for pair in pairs),
                    late=sum(pair.late for pair in pairs),
                    duplicates=sum(pair.duplicates for pair in pairs),
                    unmatched=dict(source.table.unmatched_packets()),
                    skipped=prober.skipped(),
                    stamps={f"{device} {by}": count for (device, by), count in prober.reply_stamps().items()},
                )
            )
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
