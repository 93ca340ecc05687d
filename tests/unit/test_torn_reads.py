"""What the kernel program writes while the agent reads it: a half of it is never used."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import pytest

from monlat_ebpf.abi import layout, sessions
from monlat_ebpf.abi.layout import Layout
from monlat_ebpf.abi.sessions import PeerReport, ReceptionReport
from tests.unit.test_sessions import WALL, Bench

Values = tuple[int, ...]


class TornOnce:
    """A struct whose first read has the old values, but for the members of `early`, which the reader saw change."""

    def __init__(self, real: struct.Struct, early: Mapping[int, int]) -> None:
        self._real = real
        self._early = dict(early)
        self.size = real.size

    def unpack_from(self, memory: bytearray, offset: int) -> Values:
        values = list(self._real.unpack_from(memory, offset))
        if self._early:
            for member, old in self._early.items():
                values[member] = old
            self._early.clear()
        return tuple(values)


@pytest.fixture
def tear(monkeypatch: pytest.MonkeyPatch) -> Callable[[Layout, Mapping[str, int]], None]:
    """Make the next read of a layout see these members as they were before the kernel program wrote the struct."""

    def torn(read: Layout, old: Mapping[str, int]) -> None:
        names = [
            name for member in read.members for name in (layout.FEEDBACK.members if member == "report" else [member])
        ]
        early = {names.index(name): value for name, value in old.items()}
        monkeypatch.setattr(read, "_struct", TornOnce(read._struct, early))

    return torn


Tear = Callable[[Layout, Mapping[str, int]], None]


def test_exchange_of_an_earlier_request_is_not_reported_for_a_newer_one(tear: Tear) -> None:
    """The nonce of request 70 is visible before its t2 and t3: those of request 54 in that slot are not its dwell."""
    bench = Bench()
    bench.received(1, 0x50, 70, 17_000, 0)
    bench.served(1, 0x50, 70, 0, known=0)
    tear(layout.EXCHANGE, {"received": 1_000, "transmitted": 31_000})
    assert bench.feedback() == (0x50, WALL + 17_000, 0, 0, 0)


def test_report_on_an_earlier_probe_is_not_taken_for_a_newer_one(tear: Tear) -> None:
    """The reported nonce is visible before the t2 and the dwell that came with it."""
    bench = Bench()
    bench.peer_report(1, 0x77, 9_000, 500)
    tear(layout.EXCHANGE, {"reported_received": 1_000, "reported_dwell": 400})
    assert bench.sessions.peer_report_of(1, 0x77) == PeerReport(0x77, 9_000, 500)


def test_bits_of_an_earlier_report_are_not_read_for_a_newer_one(tear: Tear) -> None:
    """The nonce that the peer named is visible before the bits of the requests around it."""
    bench = Bench()
    at = layout.SESSION.size + layout.SESSION.offset("report_received")
    struct.pack_into("<QQQQIHH", bench.sums, at, 9_000, 16, 0x77, 0, 0, 0b1011, 0b1)
    tear(sessions._REPORT, {"before": 0b1111, "report_known": 15})
    assert bench.sessions.reception_report(1) == ReceptionReport(9_000, 0x77, 0b1011, 0b1, 16)
