"""What a scrape costs in each format that a Prometheus asks for, compressed and not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.many_peers import PORT, Bed, forget_peak, resident
from bench.report import Claims
from bench.scraper import CLASSIC, FORMATS, NATIVE, Client, Format

CLAIMED_PEERS = 5000
SECONDS = {NATIVE: 0.150, CLASSIC: 0.300}
NATIVE_KILOBYTES = 500.0
GROWTH_MIB = 8.0
_MEDIA_TYPES = {NATIVE: "application/vnd.google.protobuf", CLASSIC: "text/plain"}


@dataclass(frozen=True)
class FormatCost:
    """Scrapes of one format. `seconds` of each, to the last byte; `size` of the last, in bytes as sent.

    `content_type` is what the agent says of it, which may be another format. `growth` is how far the scrapes raised
    the agent's memory above what it was before them, in MiB.
    """

    peers: int
    wanted: Format
    compressed: bool
    seconds: Sequence[float]
    size: int
    content_type: str
    growth: float

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.content_type.partition(";")[0].strip()


def measure_formats(bed: Bed, process: int, peers: int, scrapes: int) -> list[FormatCost]:
    """Scrape an agent of that many peers `scrapes` times in each format. Raises OSError when it does not answer."""
    costs = []
    client = Client(bed.here.namespace, PORT)
    try:
        for wanted in reversed(FORMATS):  # the small one first: whatever the large ones leave behind is not its own
            for compressed in (True, False):
                before = resident(process)
                forget_peak(process)
                answers = [client.scrape(wanted, compressed=compressed) for _ in range(scrapes)]
                growth = max(resident(process, "VmHWM") - before, 0)
                last = answers[-1]
                seconds = tuple(answer.seconds for answer in answers)
                costs.append(
                    FormatCost(peers, wanted, last.is_compressed, seconds, len(last.body), last.content_type, growth)
                )
    finally:
        client.close()
    return costs


def format_rows(costs: Sequence[FormatCost]) -> list[tuple[str, ...]]:
    """Return the cells of a table: what was asked for, and what came."""
    return [
        (
            *(f"{cost.peers:,}", cost.wanted.name, "gzip" if cost.compressed else "plain"),
            f"{median(cost.seconds) * 1e3:.0f} ms",
            f"{min(cost.seconds) * 1e3:.0f} to {max(cost.seconds) * 1e3:.0f} ms",
            *(f"{cost.size / 1e3:,.0f} kB", f"+{cost.growth:.1f} MiB", cost.content_type),
        )
        for cost in costs
    ]


def judge_formats(claims: Claims, costs: Sequence[FormatCost]) -> None:
    """Check what is claimed of CLAIMED_PEERS, with gzip as Prometheus scrapes."""
    for cost in costs:
        if cost.peers != CLAIMED_PEERS or not cost.compressed or cost.wanted not in SECONDS:
            continue
        what = f"{cost.wanted.name}, {cost.peers:,} peers"
        is_other = cost.media_type != _MEDIA_TYPES[cost.wanted]
        claims.check(f"answers in another format than {what}", is_other, 1)
        claims.check(f"median scrape, {what}", median(cost.seconds) * 1e3, SECONDS[cost.wanted] * 1e3, " ms")
        claims.check(f"memory that scrapes add, {what}", cost.growth, GROWTH_MIB, " MiB")
        if cost.wanted == NATIVE:
            claims.check(f"size, {what}", cost.size / 1e3, NATIVE_KILOBYTES, " kB")
