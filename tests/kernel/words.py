"""What both ends' kernels know of each probe, read from the agent's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from monlat_ebpf.abi import layout
from monlat_ebpf.sources import Source


@dataclass(frozen=True, slots=True)
class Fed:
    """A probe that the peer told of: its target, its RTT by t1 and t4, and the peer's dwell; nanoseconds."""

    target: int
    nonce: int
    rtt_ns: int
    dwell_ns: int


def fed_probes(source: Source, targets: int) -> Iterator[Fed]:
    """Yield the last probe that the peer told of, of each of the first `targets`."""
    sessions, table = source.sessions, source.table
    assert sessions is not None
    for target in range(targets):
        told = sessions.peer_report(target)
        if told is not None:
            stamps = table.stamps(target * layout.PROBES_PER_TARGET + told.nonce % layout.PROBES_PER_TARGET)
            assert stamps.nonce == told.nonce
            yield Fed(target, told.nonce, stamps.received_ns - stamps.transmitted_ns, told.dwell_ns)


def refused(source: Source) -> dict[str, int]:
    """Return the reasons for which feedback was refused at all."""
    assert source.sessions is not None
    return {reason: count for reason, count in source.sessions.rejected_feedback().items() if count}
