"""Answers echo requests after an exact delay or with a planned fault, and records when it did."""

from __future__ import annotations

import pickle
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.namespace import Namespace
from testkit import reflector_process
from testkit.actions import Action, Tag
from testkit.device import RawDevice
from testkit.packets import address_of
from testkit.plan import RECORD, Plan, Record
from testkit.reflector_process import FAILED, READY, Setup

ADDRESSES = ("10.99.0.1/16", "fd99::1/64")
START_SECONDS = 30
STOP_SECONDS = 30
MAPPED_PREFIX = bytes(10) + b"\xff\xff"


class Reflector:
    """A process behind an interface of `namespace` that answers for every address of its networks.

    `addresses` are the namespace's own on that interface: with ("10.99.0.1/16", "fd99::1/64") the reflector answers
    for the rest of 10.99.0.0/16 and fd99::/64. `processor` pins it to a core. With `spin` off it sleeps while it
    waits, which saves a core and costs tens of microseconds of precision. Actions with a VLAN tag need `kind="tap"`.

    A context manager: the reflector answers inside the block. It ends after the block, or when this process ends.
    """

    def __init__(
        self,
        namespace: Namespace,
        plan: Plan | None = None,
        addresses: Sequence[str] = ADDRESSES,
        kind: Literal["tun", "tap"] = "tun",
        name: str = "reflect0",
        processor: int | None = None,
        spin: bool = True,
    ) -> None:
        self._plan = plan or Plan()
        if kind == "tun" and any(isinstance(rule.action, Tag) for rule in self._plan.rules):
            raise TestbedError('a TUN device carries no VLAN tags: make the Reflector with kind="tap"')
        self.records: list[Record] = []
        self.unwritten = 0
        self._namespace = namespace
        self._make_device = partial(RawDevice, namespace, addresses, kind, name)
        self._processor = processor
        self._spin = spin
        self._device: RawDevice | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def inject(self, packets: Iterable[bytes]) -> int:
        """Let any IP packets arrive through the reflector's interface; return how many."""
        if self._device is None:
            raise TestbedError("the reflector is not running: use it inside its `with` block")
        return self._device.inject(packets)

    @property
    def process_id(self) -> int | None:
        """The process that answers; None when it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def counts(self) -> Counter[Action]:
        """How many requests got each action; after `stop()`."""
        return Counter(record.action for record in self.records)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self) -> None:
        device = self._device = self._make_device()
        setup = Setup(device.descriptor, device.framing, self._plan, self._processor, self._spin)
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        argv = (sys.executable, "-m", reflector_process.__name__)
        process = self._process = self._namespace.popen(argv, pass_fds=(device.descriptor,), **pipes)
        if process.stdin is None or process.stdout is None:
            raise AssertionError("pipes were asked for")
        process.stdin.write(pickle.dumps(setup))
        process.stdin.close()
        process.stdin = None  # communicate() would flush it
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        if not ready or process.stdout.read(len(READY)) != READY:
            raise TestbedError(f"the reflector did not start: see what {' '.join(argv)} said above")

    def stop(self) -> list[Record]:
        """End the process and return its records, in the order in which it read the requests.

        After that, `unwritten` is the number of answers that the kernel refused (the interface was down), and `counts`
        the number of requests by action. Raises TestbedError when the process failed.
        """
        process, self._process = self._process, None
        if process is None:
            return self.records
        process.send_signal(signal.SIGTERM)
        try:
            output, _ = process.communicate(timeout=STOP_SECONDS)
        finally:
            _end(process)
            self.close()
        if process.returncode != 0:
            raise TestbedError(f"the reflector ended with status {process.returncode}: see what it said above")
        (self.unwritten,) = FAILED.unpack_from(output)
        self.records = [self._record(fields) for fields in RECORD.iter_unpack(output[FAILED.size :])]
        return self.records

    def _record(self, fields: tuple[Any, ...]) -> Record:
        packed, nonce, sequence, rule, missing, read, first, second = fields
        address = address_of(packed.removeprefix(MAPPED_PREFIX))
        written = tuple(stamp for stamp in (first, second) if stamp)
        return Record(address, nonce, sequence, self._plan.action(rule), missing, read, written)

    def close(self) -> None:
        """End the process without its records; may be called twice."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._device is not None:
            self._device.close()
            self._device = None

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process if it still runs, and close its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
