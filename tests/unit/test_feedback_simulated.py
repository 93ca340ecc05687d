"""Two nodes that probe each other once a second, simulated: where each lost probe was lost, against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from random import Random

import pytest

from monlat_ebpf.abi.sessions import ReceptionReport, around
from monlat_ebpf.model import Result
from monlat_ebpf.probing.feedback import HOLD_INTERVALS, where_lost
from monlat_ebpf.probing.ledger import RESOLVE_DELAY_NS
from monlat_ebpf.probing.schedule import JITTER

SECOND, MILLISECOND = 10**9, 10**6
INTERVAL = TIMEOUT = SECOND
LATE_TIMER = 5 * MILLISECOND
PROBES = 251
FORWARD, RETURN, UNKNOWN = Result.LOST_FORWARD, Result.LOST_RETURN, Result.LOST_NETWORK


@dataclass(frozen=True, slots=True)
class Report:
    """The report that reached us at `at`, about our probe number `named`."""

    at: int
    named: int
    before: int
    known: int


class Pair:
    """Our probes to a peer and its reports, which are its own requests, `phase` after our probes. Nanoseconds."""

    def __init__(self, seed: int, phase: int, forward: float | Collection[int], backward: float) -> None:
        """`forward` and `backward` are probabilities of loss, or the numbers of the probes that are lost."""
        self._random = Random(seed)
        self._rtt = self._random.randint(200_000, 50 * MILLISECOND)
        self.sent = [self._sent(number, 0) for number in range(PROBES)]
        received = {
            number: sent + self._delay()
            for number, sent in enumerate(self.sent)
            if not (self._random.random() < forward if isinstance(forward, float) else number in forward)
        }
        self.truth = {number: FORWARD for number in range(PROBES) if number not in received}
        self.truth |= {number: RETURN for number in received if self._random.random() < backward}
        self._reports: list[Report] = []
        there: set[int] = set()
        arrivals = sorted((at, probe) for probe, at in received.items())[::-1]
        for number in range(PROBES + HOLD_INTERVALS + 2):
            built = self._sent(number, phase)
            while arrivals and arrivals[-1][0] <= built:
                there.add(arrivals.pop()[1])
            if there and self._random.random() >= backward:
                at = built + self._random.randint(20_000, 2 * MILLISECOND) + self._delay()
                newest, oldest = max(there), min(there)
                bits = sum(1 << back - 1 for back in range(1, 32) if newest - back in there)
                self._reports.append(Report(at, newest, around(bits, 0)[0], min(newest - oldest, 16)))

    def _sent(self, number: int, phase: int) -> int:
        jitter = round(JITTER * INTERVAL)
        return phase + number * INTERVAL + self._random.randint(-jitter, jitter + LATE_TIMER)

    def _delay(self) -> int:
        """Half the RTT, and up to as much again in queues."""
        return self._rtt // 2 + round(min(self._random.expovariate(10), 1) * self._rtt / 2)

    def result(self, number: int) -> Result:
        """Return where the prober says that the probe was lost: it asks at the deadline, then each half interval."""
        deadline = self.sent[number] + TIMEOUT
        now = deadline + RESOLVE_DELAY_NS + self._random.randint(0, LATE_TIMER)
        while True:
            last = next(report for report in reversed(self._reports[: number + 7]) if report.at <= now)
            report = ReceptionReport(last.at, 1, last.before, 0, last.known)
            where = where_lost(number, deadline, report, last.named)
            if where or now >= deadline + HOLD_INTERVALS * INTERVAL:
                return where or UNKNOWN
            now += INTERVAL // 2 + self._random.randint(0, LATE_TIMER)

    def results(self) -> Counter[tuple[Result, Result]]:
        """Count the losses by truth and result, from where the session has begun."""
        return Counter((truth, self.result(number)) for number, truth in self.truth.items() if number > 5)


@pytest.mark.parametrize("tenth", range(10))
def test_losses_are_attributed_in_any_phase(tenth: int) -> None:
    """5 % each way, RTTs up to 50 ms, 100 phases a millisecond apart: 99 of 100 have a direction, none a wrong one."""
    counted: Counter[tuple[Result, Result]] = Counter()
    for phase in range(tenth * 100, tenth * 100 + 100):
        counted += Pair(phase, phase * MILLISECOND, 0.05, 0.05).results()
    for truth, wrong in ((FORWARD, RETURN), (RETURN, FORWARD)):
        right, unknown = counted[truth, truth], counted[truth, UNKNOWN]
        assert right > 1_000
        assert unknown * 100 < right
        assert counted[truth, wrong] == 0


@pytest.mark.parametrize("phase", [0, 1, 30, 500, 999])
def test_outage_one_way_is_attributed_to_its_end(phase: int) -> None:
    """200 probes in a row are lost on the way there, and 5 % of the peer's packets: 198 and more get it right."""
    outage = range(40, 240)
    results = Pair(phase, phase * MILLISECOND, outage, 0.05).results()
    assert results[FORWARD, FORWARD] >= 198
    assert results[FORWARD, RETURN] == results[RETURN, FORWARD] == 0
