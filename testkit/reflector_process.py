"""The reflector's own process: reads requests from a descriptor and writes each answer when it is due.

It spins on a clock instead of sleeping, so it uses a whole core. Nothing else runs in it: no other thread, no garbage
collection, and records are written only at the end.

Standard input brings a pickled Setup. Standard output gives READY once and, on SIGTERM, the number of answers that
could not be written and every RECORD.
"""

from __future__ import annotations

import gc
import heapq
import os
import pickle
import select
import signal
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

from monlat_ebpf.host.wall_clock import WallClock
from testkit.actions import Reorder
from testkit.framing import Framing
from testkit.packets import EchoRequest, parse_echo_request
from testkit.plan import RECORD, Plan

READY = b"R"
FAILED = struct.Struct("=Q")
READ_BYTES = 65536
HIGHEST_PRIORITY = -20  # answers must not wait for other work of this machine
IMMINENT_NS = 30_000  # longer than it takes to read a request; with an answer due sooner, read none
WAKE_EARLY_NS = 300_000  # when not spinning: more than the kernel oversleeps
IDLE_MS = 100  # when not spinning: the longest time until a stop is noticed


@dataclass(frozen=True, slots=True)
class Setup:
    """The reflector's settings. `processor` is the core to run on; without `spin` it sleeps while it waits."""

    descriptor: int
    framing: Framing
    plan: Plan
    processor: int | None
    spin: bool


@dataclass(slots=True)
class Entry:
    """One request and its answers; times in ns."""

    request: EchoRequest
    rule: int
    missing: int
    read: int
    written: list[int] = field(default_factory=list)

    def pack(self) -> bytes:
        """Return it as a RECORD."""
        sequence, nonce = self.request.probe or (self.request.sequence, 0)
        first, second, *_ = [*self.written, 0, 0]
        address = self.request.destination.rjust(16, b"\0")
        if self.request.version == 4:
            address = IPv6Address(f"::ffff:{IPv4Address(self.request.destination)}").packed
        return RECORD.pack(address, nonce, sequence, self.rule, self.missing, self.read, first, second)


class Due(NamedTuple):
    """An answer and when to write it; of equal times the lower `order` goes first.

    Without an entry it is a request of the emulated peer.
    """

    at: int
    order: int
    frame: bytes
    entry: Entry | None


class Loop:
    """Reads, waits and writes until `stopping` is set."""

    def __init__(self, setup: Setup) -> None:
        self.stopping = False
        self.entries: list[Entry] = []
        self.failed = 0
        self._setup = setup
        self._due: list[Due] = []
        self._held: dict[bytes, list[Due]] = {}
        self._requests_to: dict[bytes, int] = {}
        self._requests_from: dict[bytes, int] = {}
        self._made = 0
        self._wall_offset_ns = WallClock().offset_ns

    def run(self) -> None:
        """Answer until `stopping`. Answers that are not due by then are never written."""
        clock, due, spin = time.monotonic_ns, self._due, self._setup.spin
        missing = clock()
        while not self.stopping:
            if due:
                wait = due[0].at - clock()
                if wait <= 0:
                    self._write(heapq.heappop(due))
                    continue
                if wait < IMMINENT_NS:
                    continue
            polled = clock()
            try:
                frame = os.read(self._setup.descriptor, READ_BYTES)
            except BlockingIOError:
                missing = polled
                if not spin:
                    self._sleep()
                continue
            self._take_in(frame, missing, clock())

    def _take_in(self, frame: bytes, missing: int, now: int) -> None:
        request = parse_echo_request(self._setup.framing.packet(frame))
        if request is None:
            return  # every interface sends router solicitations and the like
        plan, asked = self._setup.plan, request.destination
        number = self._requests_to.get(asked, 0)
        self._requests_to[asked] = number + 1
        rule = plan.rule_for(asked, number)
        action = plan.action(rule)
        entry = Entry(request, rule, missing, now)
        self.entries.append(entry)
        for outgoing in action.answers(request):
            self._made += 1
            written_frame = self._setup.framing.frame(outgoing.packet, outgoing.tag)
            answer = Due(now + plan.delay_ns + outgoing.after_ns, self._made, written_frame, entry)
            if isinstance(action, Reorder):
                self._held.setdefault(asked, []).append(answer)
            else:
                heapq.heappush(self._due, answer)

    def _write(self, answer: Due) -> None:
        now = time.monotonic_ns()
        try:
            os.write(self._setup.descriptor, answer.frame)
        except OSError:  # the interface is down or its queue is full
            self.failed += 1
        else:
            if answer.entry is not None:
                answer.entry.written.append(now)
                self._send_feedback_on(answer.entry)
        if answer.entry is not None:
            for held in self._held.pop(answer.entry.request.destination, ()):
                self._write(held)

    def _send_feedback_on(self, entry: Entry) -> None:
        emulated_peer, asked = self._setup.plan.emulated_peer, entry.request
        if emulated_peer is None or len(entry.written) > 1:
            return
        number = self._requests_from.get(asked.destination, 0)
        self._requests_from[asked.destination] = number + 1
        request = emulated_peer.request(asked, number, entry.read, entry.written[0], self._wall_offset_ns)
        self._made += 1
        due = Due(time.monotonic_ns() + emulated_peer.after_ns, self._made, self._setup.framing.frame(request), None)
        heapq.heappush(self._due, due)

    def _sleep(self) -> None:
        """Wait for a request, or until an answer is almost due."""
        wait = self._due[0].at - time.monotonic_ns() - WAKE_EARLY_NS if self._due else IDLE_MS * 1_000_000
        select.select([self._setup.descriptor], [], [], max(wait, 0) / 1e9)


def _raise_priority() -> None:
    """Take precedence over all other processes; with autogroups a priority counts only within a session."""
    os.setsid()
    with suppress(OSError):  # a kernel without autogroups
        Path("/proc/self/autogroup").write_text(str(HIGHEST_PRIORITY))
    os.setpriority(os.PRIO_PROCESS, 0, HIGHEST_PRIORITY)


def main() -> None:
    """Run the process."""
    setup: Setup = pickle.load(sys.stdin.buffer)  # noqa: S301 -- only Reflector writes there
    if setup.processor is not None:
        os.sched_setaffinity(0, {setup.processor})
    if setup.spin:
        _raise_priority()
    os.set_blocking(setup.descriptor, False)
    loop = Loop(setup)

    def stop(_number: int, _frame: object) -> None:
        loop.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches every process of the terminal; the parent sends SIGTERM
    gc.freeze()
    gc.disable()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    loop.run()
    sys.stdout.buffer.write(FAILED.pack(loop.failed))
    sys.stdout.buffer.writelines(entry.pack() for entry in loop.entries)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
