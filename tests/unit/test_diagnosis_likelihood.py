"""Probabilities against exact fractions, and what small counts may prove."""

from __future__ import annotations

from fractions import Fraction
from math import comb, exp, factorial, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.diagnosis.likelihood import (
    Cell,
    at_least,
    at_most,
    fit,
    log_mixture,
    log_ratio,
    log_sum,
    rate_parameters,
    separate,
)

BACKGROUND = 1 / 4096
LEAST_RATE = 0.005
PAIR_COST = 8 + log(4950)  # 100 nodes
counts = st.integers(0, 40).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@given(counts, st.sampled_from([Fraction(1, 1000), Fraction(1, 7), Fraction(1, 2), Fraction(9, 10)]))
def test_tails_of_the_binomial_distribution(of: tuple[int, int], rate: Fraction) -> None:
    """Both tails are the sums of the exact probabilities."""
    shown, trials = of
    exact = [comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(trials + 1)]
    assert at_least(shown, trials, float(rate)) == pytest.approx(float(sum(exact[shown:])))
    assert at_most(shown, trials, float(rate)) == pytest.approx(float(sum(exact[: shown + 1])))


def test_tails_of_millions_of_trials() -> None:
    """The half below the mean; and 5 standard deviations, which a normal distribution has a probability of 2.87e-7."""
    trials, deviation = 4_000_000, 1000
    assert at_most(trials // 2, trials, 0.5) == pytest.approx(0.5, rel=1e-3)
    assert at_most(trials // 2 - 5 * deviation, trials, 0.5) == pytest.approx(2.87e-7, rel=0.01)
    assert at_least(trials // 2 + 5 * deviation, trials, 0.5) == pytest.approx(2.87e-7, rel=0.01)
    assert at_most(0, trials, 0.5) == 0
    assert at_most(trials - 1, trials, 0.5) == 1


@given(counts)
def test_likelihood_ratio_of_any_rate(of: tuple[int, int]) -> None:
    """With all rates equally likely, the likelihood is k! (n - k)! / (n + 1)!, whatever the number of orders."""
    shown, trials = of
    rate = Fraction(1, 4096)
    exact = Fraction(factorial(shown) * factorial(trials - shown), factorial(trials + 1)) / (
        rate**shown * (1 - rate) ** (trials - shown)
    )
    ratio = log_ratio(Cell(shown, trials, BACKGROUND), 1, 1)
    assert ratio == pytest.approx(log(exact.numerator) - log(exact.denominator), abs=1e-6)


def test_rates_of_a_fault_have_the_mean_that_is_asked_for() -> None:
    """The mean of a beta distribution is a / (a + b)."""
    for rate in (0.001, 0.05, 0.5, 0.98):
        alpha, beta = rate_parameters(rate)
        assert alpha / (alpha + beta) == pytest.approx(rate)


@given(st.floats(-50, 700), st.floats(0.001, 0.999))
def test_mixture_is_computed_without_overflow(ratio: float, part: float) -> None:
    """log(1 - p + p e^r), computed for large r by taking e^r out."""
    expected = log(1 - part + part * exp(ratio)) if ratio < 100 else ratio + log(part)
    assert log_mixture(ratio, part) == pytest.approx(expected, abs=1e-9)


def test_log_sum_of_small_numbers() -> None:
    """e^-1000 twice is e^(-1000 + log 2)."""
    assert log_sum([-1000, -1000]) == pytest.approx(-1000 + log(2))


def test_a_ratio_of_small_counts_proves_nothing() -> None:
    """One loss of one probe is a rate of 100 %, and no evidence for a fault of a pair."""
    assert separate({Cell(1, 1, BACKGROUND): 1, Cell(0, 15, BACKGROUND): 9}, PAIR_COST) < 0.01
    assert separate({Cell(15, 15, BACKGROUND): 1}, PAIR_COST) > 50


def test_losses_of_all_cells_are_a_fault_of_their_element() -> None:
    """5 % of 480 trials lost over 32 cells: most cells have one or none, and together they are evidence."""
    found = fit({Cell(0, 15, BACKGROUND): 14, Cell(1, 15, BACKGROUND): 12, Cell(2, 15, BACKGROUND): 6}, LEAST_RATE)
    assert found is not None
    assert found.is_broad
    assert found.score > 50
    assert 24 / 480 <= found.rate <= 24 / 480 / 0.6


@pytest.mark.parametrize(("dead", "is_broad"), [(1, False), (3, False), (10, False), (24, True), (32, True)])
def test_a_fault_of_few_cells_is_not_one_of_their_element(dead: int, is_broad: bool) -> None:
    """Of 32 cells, 24 dead ones are three in four; 10 are less than a third."""
    found = fit({Cell(15, 15, BACKGROUND): dead, Cell(0, 15, BACKGROUND): 32 - dead}, LEAST_RATE)
    assert found is not None
    assert found.is_broad == is_broad


def test_less_than_the_least_rate_is_no_fault() -> None:
    """0.1 % is not reported, though 100 of 100,000 probes prove that it is more than chance."""
    assert fit({Cell(1, 1000, BACKGROUND): 100}, LEAST_RATE) is None
    assert fit({Cell(0, 15, BACKGROUND): 32}, LEAST_RATE) is None
