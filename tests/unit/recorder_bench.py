"""A recorder over a table of two targets, and the machine whose kernel stamps, for tests of the recorder."""

from __future__ import annotations

from ipaddress import ip_address

from monlat_ebpf.abi.probes import Completion, TableSize, mapped
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import Address
from monlat_ebpf.sources.socket.messages import IcmpError, Reply, Unmatched
from monlat_ebpf.sources.socket.recorder import Recorder
from monlat_ebpf.sources.socket.table import SocketTable
from tests.unit.socket_clocks import MILLISECOND, Machine

PEER: Address = ip_address("10.1.0.2")
ADDRESS = mapped(PEER)
SLOT, NONCE, DEVICE = 21, 77, 4
TARGET = 1  # 21 // 16
RIGHT, WRONG = b"\xff\xff", b"\x12\x34"  # bytes that add up to 0 modulo 0xffff, and that do not


class Bench:
    """A recorder over a table of two targets, and the machine whose kernel stamps."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.clock = WallClock(self.machine.read)
        self.table = SocketTable(TableSize(2), lambda: None)
        self.recorder = Recorder(self.table, self.clock)

    def arm(self, timeout: int = 1_000 * MILLISECOND) -> int:
        sent = self.machine.now
        self.table.arm(SLOT, nonce=NONCE, sent_ns=sent, deadline_ns=sent + timeout, address=ADDRESS)
        return sent

    def later(self, nanoseconds: int) -> int:
        self.machine.now += nanoseconds
        return self.machine.now

    def transmit(self, slot: int = SLOT, nonce: int = NONCE, device: int = DEVICE) -> int:
        taken = self.machine.now
        stamp = self.machine.stamp()
        self.recorder.transmitted(slot, nonce, stamp, device, self.clock.poll())
        self.recorder.record_waiting(self.clock.poll())
        return taken

    def receive(self, message: Reply | IcmpError | Unmatched) -> int:
        taken = self.machine.now
        stamp = self.machine.stamp()
        self.recorder.received(message, stamp, self.clock.poll())
        self.recorder.record_waiting(self.clock.poll())
        return taken

    def reply(self, checked: bytes = RIGHT) -> int:
        return self.receive(Reply(ADDRESS, SLOT, NONCE, checked))

    def error(self, code: int = 1) -> int:
        return self.receive(IcmpError(3, code, ADDRESS, SLOT, NONCE))

    @property
    def completion(self) -> Completion:
        return self.table.completion(SLOT)

    @property
    def unmatched(self) -> dict[str, int]:
        return {reason: count for reason, count in self.table.unmatched_packets().items() if count}

    @property
    def rtts(self) -> tuple[int, int]:
        """Their number, and their sum in ns."""
        histogram = self.table.histogram(TARGET)
        return histogram.count, histogram.sum_ns
