"""The share of lost probes of the last one to two minutes, by where they were lost. Pure.

An agent counts since its start. A share of all probes since then would hide what happens now, so two older states of
the counters are kept, and the older of these is what the present is compared with.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Final, NamedTuple

from monlat_ebpf.collector.answer import ENDED, LOSSES, Row

WINDOW_SECONDS: Final = 60.0
"""A state of the counters is replaced after so long, so a share covers between one and two windows."""

TOTAL: Final = "loss"
MEASURES: Final = (TOTAL, *(f"loss_{where}" for where in LOSSES))


class _State(NamedTuple):
    """The counters of a row at one moment, without its times."""

    seconds: float
    to: tuple[str, ...]
    counters: Mapping[str, array[int]]


class LossWindow:
    """The counters of one agent's row, now and before."""

    def __init__(self) -> None:
        self._states: list[_State] = []  # at most three: the base, the next base, and now
        self.started_at = math.inf

    def update(self, now: float, row: Row) -> Mapping[str, array[float]]:
        """Take the counters of `row`; return the share of each of MEASURES, NaN where no probe ended since the base.

        An agent that has started again counts from zero: its counters are then the difference.
        """
        self.started_at = min(self.started_at, now)
        state = _State(now, row.to, row.counters)
        if len(self._states) < 3 or now - self._states[1].seconds >= WINDOW_SECONDS:
            self._states = [*self._states[-2:], state]
        else:
            self._states[2] = state
        base = self._states[0]
        there = {name: position for position, name in enumerate(base.to)}
        shares = {name: array("f") for name in MEASURES}
        for here, name in enumerate(row.to):
            ended, *lost = _since(base, there.get(name), state, here)
            shares[TOTAL].append(_share(sum(lost), ended))
            for where, number in zip(LOSSES, lost, strict=True):
                shares[f"loss_{where}"].append(_share(number, ended))
        return shares

    @property
    def seconds(self) -> float:
        """How long the window is now."""
        return self._states[-1].seconds - self._states[0].seconds if self._states else 0.0


def _since(base: _State, there: int | None, state: _State, here: int) -> list[int]:
    """Return how many probes have ended since `base`, and of these the lost ones by where."""
    now = [state.counters[name][here] for name in (ENDED, *LOSSES)]
    if there is None:
        return now
    before = [base.counters[name][there] for name in (ENDED, *LOSSES)]
    if any(later < earlier for later, earlier in zip(now, before, strict=True)):
        return now  # the agent has started again, or a counter its 2^32 probes
    return [later - earlier for later, earlier in zip(now, before, strict=True)]


def _share(lost: int, ended: int) -> float:
    return min(lost / ended, 1.0) if ended else math.nan
