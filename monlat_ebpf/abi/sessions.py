"""What the agents of two nodes report to each other in their requests; `bpf/responder.h` keeps it.

Memory in the layout of `bpf/monlat.h`. Times are CLOCK_MONOTONIC in nanoseconds, except the times that a peer gives,
which are of the peer's wall clock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from monlat_ebpf.abi import histogram, layout
from monlat_ebpf.abi.echo import NO_FEEDBACK, Feedback
from monlat_ebpf.abi.layout import Record
from monlat_ebpf.abi.peer_index import PeerIndex, entries_for
from monlat_ebpf.abi.probes import Memories, TableSize
from monlat_ebpf.model import Histogram

_NETWORK_RTT: Final = layout.SESSION.nested("network_rtt", layout.HISTOGRAM)
_DWELL: Final = layout.SESSION.nested("dwell", layout.HISTOGRAM)
_HISTOGRAMS: Final = layout.SESSION.part("network_rtt", "dwell")
_SERVED: Final = layout.SESSION.part("first", "candidate")
_STREAM_VALUES: Final = layout.STREAM.values
_NONCE, _RECEIVED = (list(layout.STREAM.members).index(name) for name in ("nonce", "received"))
_SERVED_AT: Final = layout.SESSION.offset("first")
_SESSION_BYTES: Final = layout.SESSION.size
_STREAM_NONCE: Final = f"{layout.STREAM.offset('nonce')}xQ{layout.STREAM.size - layout.STREAM.offset('nonce') - 8}x"
_REPORT: Final = layout.SESSION.part("report_received", "report")
_CANDIDATE_END: Final = layout.SESSION.offset("candidate") + 8
_read_nonces: Final = struct.Struct(
    f"<{_STREAM_NONCE * layout.STREAMS}Q{layout.SESSION.offset('reported_nonce') - _CANDIDATE_END}xQ"
).unpack_from
_WALL_OFFSET: Final = layout.SETTINGS.part("wall_offset")
_OWN: Final = layout.SETTINGS.part("cookies", "identifier")
_EXCHANGES_PER_TARGET: Final = layout.STREAMS * layout.PROBES_PER_TARGET
_LARGEST_DWELL: Final = 2**32 - 1
_U64: Final = 2**64 - 1
_U32: Final = 2**32 - 1
_U16: Final = 2**16 - 1
_BITS: Final = 16  # of `before` in struct feedback

_new: Final = tuple.__new__
"""Makes a NamedTuple in half of the time."""


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What a peer reported of one of our probes: t2 in the peer's wall time, and its dwell."""

    nonce: int
    peer_received_ns: int
    dwell_ns: int


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """Which of our probes a peer had received when it sent its newest feedback.

    The feedback came at `at_ns` and names the probe with `nonce`. Bit i of `before` says whether the peer received the
    probe i + 1 sequences before that one; beyond the first `known` bits, a 0 says nothing. Bit i of `after` says the
    same of the probe i + 1 sequences after it. The highest bit of `after` stands for the newest probe that the peer had
    received; if `after` is 0, the named probe was the newest.
    """

    at_ns: int
    nonce: int
    before: int
    after: int
    known: int


def around(before: int, back: int) -> tuple[int, int]:
    """Return `before` and `after` of feedback that names the request `back` sequences before the newest, up to 15.

    The `before` given is the newest's: bit i says whether the request i + 1 sequences before it was received.
    """
    if back == 0:
        return before & _U16, 0
    received = before << 1 | 1  # bit i: the request i sequences before the newest
    after = sum((received >> (back - 1 - bit) & 1) << bit for bit in range(back))
    return before >> back & _U16, after


def _received_before(before: int, known: int) -> Iterator[int]:
    """Yield how far before the newest request others were received that may still have their slots."""
    return (back for back in range(1, min(known + 1, layout.PROBES_PER_TARGET)) if before >> (back - 1) & 1)


def _dwell_ns(exchange: Record) -> int:
    """Return the dwell to report, 0 if there is none.

    A request that came twice has none, because it is not known which of its replies reached the peer. The payload has
    no room for a dwell over 4.29 s.
    """
    dwell: int = exchange.transmitted - exchange.received if exchange.transmitted and exchange.requests <= 1 else 0
    return dwell if 0 < dwell <= _LARGEST_DWELL else 0


class Sessions:
    """Reads and writes the memory; holds no other state."""

    def __init__(self, size: TableSize, memories: Memories) -> None:
        self._peer_index = PeerIndex(memories["peer_index"], entries_for(size.targets))
        self.use(memories)

    def use(self, memories: Memories) -> None:
        """Go on with other views of the same memory."""
        self._exchanges = memories["exchanges"]
        self._sessions = memories["sessions"]
        self._peer_index.use(memories["peer_index"])
        self._settings = memories["settings"]
        self._counts = memories["counts"]

    def set_peer_index(self, targets: Mapping[bytes, int]) -> int:
        """Serve the requests of these mapped addresses and of no others; return how many the index has no room for."""
        return self._peer_index.set(targets)

    def set_wall_offset(self, offset_ns: int) -> None:
        """Tell the kernel program how far the wall clock is ahead of CLOCK_MONOTONIC."""
        _WALL_OFFSET.write(self._settings, 0, offset_ns & _U64)

    def set_own(self, identifier: int, cookies: Sequence[int]) -> None:
        """Tell the kernel program the identifier of our requests, and which sockets send them.

        Raises ValueError if there are more sockets than SENDING_SOCKETS.
        """
        unused = layout.SENDING_SOCKETS - len(cookies)
        if unused < 0:
            raise ValueError(f"{len(cookies)} sockets are more than SENDING_SOCKETS")
        _OWN.write(self._settings, 0, *cookies, *(0,) * unused, identifier)

    def nonces(self, target: int) -> tuple[int, int, int, int]:
        """Return the nonces that tell whether there is anything new, each 0 if there is none.

        They are of the newest request of the peer's first stream, of its second, of none, and of the last probe of ours
        whose dwell the peer reported.
        """
        nonces: tuple[int, int, int, int] = _read_nonces(self._sessions, target * _SESSION_BYTES + _SERVED_AT)
        return nonces

    def feedback(self, target: int, wall_offset_ns: int, alive_since_ns: int = 0, turn: int = 0) -> Feedback:
        """Return what the next request to `target` reports of its requests to us.

        The streams of the peer that sent a request after `alive_since_ns` take turns. If none did, all streams and the
        newest request that belongs to none take turns: the peer's agent may have been started again.
        """
        served = _SERVED.values_at(self._sessions, target)
        if served[_NONCE] and not served[_STREAM_VALUES + _NONCE] and served[_RECEIVED] >= alive_since_ns:
            # of nearly every peer one agent runs, and its newest request was answered
            feedback = self._feedback_on_newest(target, served, wall_offset_ns)
            if feedback is not None:
                return feedback if _SERVED.values_at(self._sessions, target) == served else NO_FEEDBACK
        first, second, candidate = served[:_STREAM_VALUES], served[_STREAM_VALUES:-1], served[-1]
        streams = [layout.STREAM.make(each) for each in (first, second) if each[_NONCE]]
        alive = [stream for stream in streams if stream.received >= alive_since_ns]
        turns = alive or streams + [None] * (candidate != 0)
        if not turns:
            return NO_FEEDBACK
        chosen = turns[turn % len(turns)]
        if chosen is None:
            return Feedback(layout.FEEDBACK.pack(candidate, 0, 0, 0, 0))
        is_second = chosen is streams[-1] and second[_NONCE] != 0
        feedback = self._feedback_on(target, chosen, wall_offset_ns, is_second=is_second)
        if _SERVED.values_at(self._sessions, target) != served:
            return NO_FEEDBACK  # a newer request came just now; the next feedback reports it
        return feedback

    def _feedback_on_newest(self, target: int, first: Sequence[int], wall_offset_ns: int) -> Feedback | None:
        """Report the newest request of the stream whose values `first` begins with; None if `_feedback_on` must."""
        _, nonce, _, _, before, known, *_ = first
        slot = target * _EXCHANGES_PER_TARGET + nonce % layout.PROBES_PER_TARGET
        its_nonce, received, transmitted, _, _, requests, *_ = layout.EXCHANGE.values_whole(self._exchanges, slot)
        dwell = transmitted - received
        if its_nonce != nonce or not transmitted or requests > 1 or not 0 < dwell <= _LARGEST_DWELL:
            return None
        report = layout.FEEDBACK.pack(nonce, received + wall_offset_ns & _U64, dwell, before & _U16, 0)
        return _new(Feedback, (report, min(known, _BITS), 0))

    def _feedback_on(self, target: int, stream: Record, wall_offset_ns: int, *, is_second: bool) -> Feedback:
        """Report the newest answered request, or the newest if none was answered.

        While replies wait in a queue of this node the newest is never answered yet, so reporting only that one would
        yield no dwell.
        """
        exchange, back = self._exchange(target, stream.nonce, is_second=is_second), 0
        nonce, received, dwell = exchange.nonce, exchange.received, _dwell_ns(exchange)
        if nonce != stream.nonce:  # another request has taken its slot
            nonce, received, dwell = stream.nonce, stream.received, 0
        if dwell == 0:
            for further in _received_before(stream.before, stream.known):
                earlier = self._exchange(target, stream.nonce - further, is_second=is_second)
                is_of_stream = earlier.stream == stream.id & _U16
                if is_of_stream and earlier.sequence == stream.sequence - further & _U32 and _dwell_ns(earlier):
                    nonce, received, dwell, back = earlier.nonce, earlier.received, _dwell_ns(earlier), further
                    break
        received_at = received + wall_offset_ns & _U64
        report = layout.FEEDBACK.pack(nonce, received_at, dwell, *around(stream.before, back))
        return Feedback(report, min(stream.known - back, _BITS))

    def reported_nonce(self, target: int) -> int:
        """Return the nonce of the last probe of ours whose dwell the peer reported, 0 if there is none."""
        return self.nonces(target)[-1]

    def peer_report_of(self, target: int, nonce: int) -> PeerReport | None:
        """Return the peer's report on the probe with that nonce, None if there is none."""
        if nonce == 0:
            return None
        exchange = self._exchange(target, nonce)
        if exchange.reported_nonce != nonce:
            return None
        return PeerReport(nonce, exchange.reported_received, exchange.reported_dwell)

    def reception_report(self, target: int) -> ReceptionReport | None:
        """Return which of our probes the peer last said it had received, None if it never did."""
        newest = _REPORT.read_whole(self._sessions, target)
        report = newest.report
        if report.nonce == 0:
            return None
        return ReceptionReport(newest.report_received, report.nonce, report.before, report.after, newest.report_known)

    def network_rtt(self, target: int) -> Histogram:
        """Return the histogram of RTT less dwell."""
        return histogram.from_record(_NETWORK_RTT.read(self._sessions, target))

    def dwell(self, target: int) -> Histogram:
        """Return the histogram of the time that this node took to answer."""
        return histogram.from_record(_DWELL.read(self._sessions, target))

    def raw_histograms(self, target: int) -> bytes:
        """Return `network_rtt` and `dwell` of the target's `struct session` as they are in memory."""
        return _HISTOGRAMS.raw(self._sessions, target)

    def rejected_feedback(self) -> Mapping[str, int]:
        """Return how often feedback was rejected, by reason."""
        packets = layout.COUNTS.read(self._counts).packets[len(layout.UNMATCHED_REASONS) :]
        return dict(zip(layout.FEEDBACK_REASONS, packets, strict=True))

    def clear(self, target: int) -> None:
        """Forget the target's session and exchanges."""
        layout.SESSION.clear(self._sessions, target)
        for slot in range(target * _EXCHANGES_PER_TARGET, (target + 1) * _EXCHANGES_PER_TARGET):
            layout.EXCHANGE.clear(self._exchanges, slot)

    def _exchange(self, target: int, nonce: int, *, is_second: bool = False) -> Record:
        """Return the exchange of the peer's first stream, or of its second one; our probes are with the first."""
        stream = target * layout.STREAMS + is_second
        slot = stream * layout.PROBES_PER_TARGET + nonce % layout.PROBES_PER_TARGET
        return layout.EXCHANGE.read_whole(self._exchanges, slot)
