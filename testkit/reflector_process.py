"""The reflector's own process: reads requests from a descriptor and writes answers, each at its instant.

It spins on a clock rather than sleeps, so it takes one core whole, and nothing else runs in it: no other
thread, no garbage collection, no list of records written before it is told to stop.

Standard input brings a pickled Setup; standard output gives READY once, and on SIGTERM the number of
answers that could not be written and every RECORD.
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
MOST_FAVOURED = -20  # the truth must not wait behind whatever else this machine does
IMMINENT_NS = 30_000  # longer than taking in a request lasts: with an answer due sooner, only wait
WAKE_EARLY_NS = 300_000  # when not spinning: more than the kernel oversleeps
IDLE_MS = 100  # when not spinning: how long a stop may take to be noticed, at worst


@dataclass(frozen=True, slots=True)
class Setup:
    """What the process needs to know. `processor` is the core to stay on; `spin` off saves it, at a price."""

    descriptor: int
    framing: Framing
    plan: Plan
    processor: int | None
    spin: bool


@dataclass(slots=True)
class Entry:
    """One request and what became of it; times in ns."""

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
    """An answer and the instant to write it at; `order` keeps equal instants in the order of their making.

    Without an entry it is no answer, but a request of the reflector's own.
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
        self._spoken: dict[bytes, int] = {}
        self._made = 0
        self._wall_offset_ns = WallClock().offset_ns

    def run(self) -> None:
        """Reflect until told to stop. Answers that are not due by then are never written."""
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
            looked = clock()
            try:
                frame = os.read(self._setup.descriptor, READ_BYTES)
            except BlockingIOError:
                missing = looked
                if not spin:
                    self._sleep()
                continue
            self._take_in(frame, missing, clock())

    def _take_in(self, frame: bytes, missing: int, now: int) -> None:
        request = parse_echo_request(self._setup.framing.packet(frame))
        if request is None:
            return  # router solicitations and the like, which every interface sends
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
        except OSError:  # the interface is down, or has no room: told at the end, like all counts
            self.failed += 1
        else:
            if answer.entry is not None:
                answer.entry.written.append(now)
                self._speak_of(answer.entry)
        if answer.entry is not None:
            for held in self._held.pop(answer.entry.request.destination, ()):
                self._write(held)

    def _speak_of(self, entry: Entry) -> None:
        emulated_peer, asked = self._setup.plan.emulated_peer, entry.request
        if emulated_peer is None or len(entry.written) > 1:
            return
        number = self._spoken.get(asked.destination, 0)
        self._spoken[asked.destination] = number + 1
        request = emulated_peer.request(asked, number, entry.read, entry.written[0], self._wall_offset_ns)
        self._made += 1
        due = Due(time.monotonic_ns() + emulated_peer.after_ns, self._made, self._setup.framing.frame(request), None)
        heapq.heappush(self._due, due)

    def _sleep(self) -> None:
        """Wait for a request, but no longer than until an answer is almost due."""
        wait = self._due[0].at - time.monotonic_ns() - WAKE_EARLY_NS if self._due else IDLE_MS * 1_000_000
        select.select([self._setup.descriptor], [], [], max(wait, 0) / 1e9)


def _go_before_others() -> None:
    """Take precedence over all other processes, and not only, as autogroups would have it, within one's session."""
    os.setsid()
    with suppress(OSError):  # a kernel without autogroups
        Path("/proc/self/autogroup").write_text(str(MOST_FAVOURED))
    os.setpriority(os.PRIO_PROCESS, 0, MOST_FAVOURED)


def main() -> None:
    """Run the process."""
    setup: Setup = pickle.load(sys.stdin.buffer)  # noqa: S301 -- only Reflector writes there
    if setup.processor is not None:
        os.sched_setaffinity(0, {setup.processor})
    if setup.spin:
        _go_before_others()
    os.set_blocking(setup.descriptor, False)
    loop = Loop(setup)

    def stop(_number: int, _frame: object) -> None:
        loop.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; our parent tells us when to end
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
