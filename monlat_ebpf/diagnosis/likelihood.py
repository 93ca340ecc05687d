"""How much better a fault explains counts than chance does. Pure; logarithms are natural.

A cell has `shown` of `trials` with the symptom, where a share `usual` is by chance. A fault makes that share a random
number with a beta distribution, so the counts have a beta-binomial one. A fault need not reach all cells of an element:
its *breadth* is the share that it reaches. A ratio of two small counts proves nothing, and here it weighs nothing: one
loss of two probes is as likely from chance as its probability says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import exp, lgamma, log, log1p
from typing import Final, NamedTuple


class Cell(NamedTuple):
    """The counts of a cell: `shown` of `trials` have the symptom, a share `usual` has it by chance."""

    shown: int
    trials: int
    usual: float


Cells = Mapping[Cell, int]
"""How many cells have these counts."""

BREADTHS: Final = (0.05, 0.15, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 0.99)
LEAST_BREADTH: Final = 0.6
"""A fault is an element's when this part of its cells shows it; fewer are faults of their own (as in rpingmesh)."""
WEIGHTS: Final = {0.6: 0.03, 0.75: 0.07, 0.9: 0.2, 0.99: 0.7}
"""How likely each breadth of an element's fault is before any measurement: most reach nearly all cells."""
BREADTH_MARGIN: Final = 0.25
"""By how much (a log likelihood) a breadth below the least one may be the better explanation."""
MOST_RATE: Final = 0.98
SPREAD: Final = 4.0
"""The shape of the distribution of rates within an element's fault: their relative standard deviation is a half."""
LEAST_WEIGHT: Final = 8.0
"""The least sum of the two parameters of that distribution; for high rates, it allows cells to differ."""
NEGLIGIBLE: Final = 1e-15
"""A term that is this part of a sum, or less, does not count."""
OWN_RATE: Final = (0.7, 1.5)
"""The parameters for a cell that is at fault by itself: any rate, the lower ones likelier."""


class Fit(NamedTuple):
    """A fault of an element as an explanation of its cells.

    `score` is the log likelihood ratio to chance. `rate` is the share of trials in cells that the fault reaches.
    `is_broad` is False when the fault reaches too few of the cells to be a fault of the element.
    """

    score: float
    rate: float
    is_broad: bool


@lru_cache(maxsize=1 << 14)
def log_ratio(cell: Cell, alpha: float, beta: float) -> float:
    """Return log(likelihood with a beta-distributed rate / likelihood of chance) of a cell's counts."""
    shown, trials, usual = cell
    return (
        _log_beta(shown + alpha, trials - shown + beta)
        - _log_beta(alpha, beta)
        - shown * log(usual)
        - (trials - shown) * log1p(-usual)
    )


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def rate_parameters(rate: float) -> tuple[float, float]:
    """Return the parameters of the beta distribution of rates in a fault with this mean rate."""
    weight = max(LEAST_WEIGHT, SPREAD / rate)
    return weight * rate, weight * (1 - rate)


def log_mixture(ratio: float, part: float) -> float:
    """Return log(1 - part + part * e^ratio): the fault reaches a cell with probability `part`."""
    if ratio > 30:
        return ratio + log(part)
    return log1p(part * math.expm1(ratio))


def log_sum(terms: Iterable[float]) -> float:
    """Return log(sum of e^term)."""
    values = list(terms)
    greatest = max(values)
    return greatest + log(sum(exp(value - greatest) for value in values))


def fit(cells: Cells, least_rate: float) -> Fit | None:
    """Return the fault of the whole element that explains `cells` best. None: it would have less than `least_rate`."""
    trials = sum(cell.trials * count for cell, count in cells.items())
    shown = sum(cell.shown * count for cell, count in cells.items())
    if not shown or shown < least_rate * trials:
        return None
    scores = {}
    for breadth in BREADTHS:
        rate = min(shown / trials / breadth, MOST_RATE)
        alpha, beta = rate_parameters(rate)
        scores[breadth] = sum(
            count * log_mixture(log_ratio(cell, alpha, beta), breadth) for cell, count in cells.items()
        )
    broad = {breadth: score for breadth, score in scores.items() if breadth >= LEAST_BREADTH}
    best = max(broad, key=lambda breadth: broad[breadth])
    return Fit(
        score=log_sum(score + log(WEIGHTS[breadth]) for breadth, score in broad.items()),
        rate=min(shown / trials / best, MOST_RATE),
        is_broad=broad[best] >= max(scores.values()) - BREADTH_MARGIN,
    )


def separate(cells: Cells, cost: float) -> float:
    """Return the log likelihood ratio to chance of cells that are each at fault by itself, or not.

    `cost` is the logarithm of how unlikely such a fault is before any measurement.
    """
    part = exp(-cost)
    return sum(count * log_mixture(log_ratio(cell, *OWN_RATE), part) for cell, count in cells.items())


def at_most(shown: int, trials: int, rate: float) -> float:
    """Return the probability that `shown` or fewer of `trials` have a symptom of probability `rate`."""
    if shown >= trials or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    if shown > trials * rate:
        return 1 - _tail(shown + 1, trials, rate, 1)
    return _tail(shown, trials, rate, -1)


def _tail(shown: int, trials: int, rate: float, step: int) -> float:
    """Return the probability of `shown` and all numbers beyond it, away from the mean.

    The terms fall; what they can no longer change ends the sum, so that millions of trials take a thousand of them.
    """
    ways = lgamma(trials + 1) - lgamma(shown + 1) - lgamma(trials - shown + 1)
    term = total = exp(ways + shown * log(rate) + (trials - shown) * log1p(-rate))
    odds = rate / (1 - rate)
    while term > total * NEGLIGIBLE and 0 <= shown + step <= trials:
        term *= (trials - shown) / (shown + 1) * odds if step > 0 else shown / (trials - shown + 1) / odds
        shown += step
        total += term
    return min(total, 1.0)


def at_least(shown: int, trials: int, rate: float) -> float:
    """Return the probability that `shown` or more of `trials` have a symptom of probability `rate`."""
    return 1.0 if shown <= 0 else at_most(trials - shown, trials, 1 - rate)
