"""The rules of other tools fire about as often as is known of them: too often where nothing has changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bench import canary_baselines as baselines
from bench.canary_two_samples import least_mann_whitney_p, mann_whitney_p, student_p, welch_p
from seatrial.canary.features import Features

from .histories import DAY, MONDAY, full_history


def shuffled(sessions: Sequence[Features], seed: int) -> list[Features]:
    """The same sessions at each other's dates: nothing can have changed."""
    order = np.random.default_rng(seed).permutation(len(sessions))
    return [
        replace(sessions[index], start=at.start, end=at.end, session=at.session)
        for index, at in zip(order, sessions, strict=True)
    ]


def share_that_fires(rule: baselines.Rule, histories: Sequence[Sequence[Features]]) -> float:
    return float(np.mean([rule(sessions).fires for sessions in histories]))


@pytest.mark.parametrize("t", [0.01, 0.3, 1.0, 2.5, 8.0, 40.0])
def test_students_distribution(t: float) -> None:
    assert student_p(t, 1) == pytest.approx(2 / math.pi * math.atan(1 / t), rel=1e-9)
    assert student_p(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-7)
    assert student_p(t, 4) == pytest.approx(1 - t * (t * t + 6) / (t * t + 4) ** 1.5, rel=1e-5, abs=1e-12)
    assert student_p(-t, 7.3) == student_p(t, 7.3)
    assert student_p(t, 1e6) == pytest.approx(math.erfc(t / math.sqrt(2)), rel=1e-3, abs=1e-8)


@pytest.mark.parametrize(("freedom", "t"), [(5, 2.5706), (10, 2.2281), (20, 2.0860), (30, 2.0423), (120, 1.9799)])
def test_students_table(freedom: float, t: float) -> None:
    assert student_p(t, freedom) == pytest.approx(0.05, abs=5e-6)


def test_p_values_of_welch_are_uniform_when_means_are_equal() -> None:
    random = np.random.default_rng(4)
    values = np.sort([welch_p(random.normal(0, 1, 9), random.normal(0, 3, 25)) for _ in range(2000)])
    assert np.abs(values - (np.arange(2000) + 0.5) / 2000).max() < 0.036  # Kolmogorov's 1 % bound
    assert welch_p([1.0, 1.0], [1.0, 1.0]) == welch_p([1.0], [2.0, 3.0]) == 1.0
    assert welch_p([1.0, 1.0], [2.0, 2.0]) == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_mann_whitney_is_near_permutations(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 6, 30).astype(float)  # ties
    ranks = np.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])
    seen = abs(ranks[:12].sum() - ranks.mean() * 12)
    drawn = random.permuted(np.tile(ranks, (5000, 1)), axis=1)[:, :12].sum(axis=1)
    share = float(np.mean(np.abs(drawn - ranks.mean() * 12) >= seen - 1e-9))
    assert mann_whitney_p(values[:12], values[12:]) == pytest.approx(share, abs=0.03)
    assert mann_whitney_p(values[:12], values[12:]) == pytest.approx(mann_whitney_p(values[12:], values[:12]))


def test_the_least_p_of_mann_whitney_is_the_least() -> None:
    values = np.array([0.0, 0, 0, 0, 0, 1, 2, 3])
    least = least_mann_whitney_p(values, 3)
    every = [
        mann_whitney_p(values[list(chosen)], np.delete(values, chosen))
        for chosen in itertools.combinations(range(8), 3)
    ]
    assert least == pytest.approx(min(every))
    assert mann_whitney_p([1.0, 1.0], [1.0, 1.0]) == mann_whitney_p([], [1.0]) == 1.0


@pytest.mark.parametrize(("a_side", "autocorrelation", "known"), [
    (3, 0.0, 0.56), (5, 0.0, 0.35), (7, 0.0, 0.23), (3, 0.3, 0.76), (5, 0.3, 0.58), (7, 0.3, 0.46),
])  # fmt: skip
def test_the_largest_gap_of_noise_is_mostly_large(a_side: int, autocorrelation: float, known: float) -> None:
    random = np.random.default_rng(1)
    fired = 0
    for _ in range(800):
        series = random.normal(size=60)
        for day in range(1, 60):
            series[day] += autocorrelation * series[day - 1]
        fired += abs(baselines.largest_gap(series, a_side)[1]) >= 0.75
    assert fired / 800 == pytest.approx(known, abs=0.06)


@pytest.mark.parametrize("days_a_side", [3, 5])
def test_cc_canary_fires_on_shuffled_histories(days_a_side: int) -> None:
    histories = [shuffled(full_history(120, seed), seed) for seed in range(120)]
    words = [baselines.cc_canary(sessions, days_a_side=days_a_side).word for sessions in histories]
    confirmed = words.count("CONFIRMED REGRESSION") / len(words)
    fires = confirmed + words.count("SUSPECTED REGRESSION") / len(words)
    assert 0.33 - 0.09 <= fires <= 0.68 + 0.09
    assert 0.08 - 0.06 <= confirmed <= 0.36 + 0.09


def test_codevigil_and_agent_observatory_fire_once_per_twenty_metrics_and_more() -> None:
    histories = [full_history(90, seed) for seed in range(120)]
    metrics = ("reads_per_edit", "rewrites", "signature_length")
    expected = 1 - 0.95 ** len(metrics)
    vigil = share_that_fires(lambda sessions: baselines.codevigil(sessions, metrics=metrics), histories)
    jumps = share_that_fires(
        lambda sessions: baselines.agent_observatory(sessions, metrics=metrics, permutations=199), histories
    )
    assert vigil == pytest.approx(expected, abs=0.1)
    assert jumps == pytest.approx(expected, abs=0.1)


def test_regression_finder_seldom_fires_on_nothing() -> None:
    histories = [shuffled(full_history(120, seed), seed) for seed in range(100)]
    assert share_that_fires(baselines.regression_finder, histories) <= 0.04


def test_regression_finder_finds_large_drops_and_misses_smaller_ones() -> None:
    large = share_that_fires(
        baselines.regression_finder, [full_history(60, seed, change=0.3, per_day=1) for seed in range(60)]
    )
    small = share_that_fires(
        baselines.regression_finder, [full_history(60, seed, change=0.5, per_day=1) for seed in range(60)]
    )
    assert large >= 0.5
    assert small < large


@pytest.mark.parametrize("name", baselines.RULES)
def test_a_large_drop_is_found_where_it_is(name: str) -> None:
    fired, distances = 0, []
    for seed in range(10):
        sessions = full_history(180, seed, change=0.3)
        verdict = baselines.RULES[name](sessions)
        fired += verdict.fires and any(finding.effect < 0 for finding in verdict.findings)
        if verdict.at is not None:
            distances.append(abs(verdict.at - sessions[90].start) / DAY)
    # The composite of six metrics hides a drop of one of them.
    assert fired >= (5 if name == "cc-canary" else 9)
    assert name == "cc-canary" or np.median(distances) <= 7


def test_regression_finder_takes_first_days_of_labels_and_mondays() -> None:
    sessions = full_history(12, 0, per_day=1)
    for number, session in enumerate(sessions):
        session.labels = {"model": "one" if number < 4 else "two", "version": "1" if number < 6 else "mixed"}
    first = MONDAY - MONDAY % DAY
    found = baselines.boundaries(sessions, ("model", "version"), by_week=False)
    assert found == [first, first + 4 * DAY]
    weeks = baselines.boundaries(sessions, (), by_week=True)
    # 1 January 1970 was a Thursday.
    assert weeks and all((day / DAY + 3) % 7 == 0 for day in weeks)


def test_rare_events_are_compared_by_sessions_with_any() -> None:
    sessions = full_history(120, 0, per_day=1)
    for number, session in enumerate(sessions):
        session.cells["implement"]["loops"] = (3.0 if number >= 60 and number % 2 else 0.0, 50.0)
    verdict = baselines.regression_finder(sessions, metrics=("loops",))
    assert verdict.fires
    assert {finding.metric for finding in verdict.findings} == {"loops"}
    assert verdict.findings[0].effect > 0


def test_small_effects_and_small_sides_are_not_reported() -> None:
    sessions = full_history(120, 3, change=0.3, per_day=1)
    assert baselines.regression_finder(sessions, metrics=("reads_per_edit",)).fires
    assert not baselines.regression_finder(sessions, metrics=("reads_per_edit",), effect=1.5).fires
    assert not baselines.regression_finder(sessions, metrics=("reads_per_edit",), a_side=61).fires


@pytest.mark.parametrize("name", baselines.RULES)
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_too_little_is_no_change(name: str, count: int) -> None:
    verdict = baselines.RULES[name](full_history(count, 0, change=0.1) if count else [])
    assert verdict.at is None or name in ("codevigil", "agent-observatory")
    assert name in ("codevigil", "agent-observatory") or not verdict.fires


@pytest.mark.parametrize("name", baselines.RULES)
def test_excluded_sessions_and_the_order_given_do_not_matter(name: str) -> None:
    sessions = full_history(120, 2, change=0.3)
    expected = baselines.RULES[name](sessions)
    others = [replace(session, excluded="scripted", calls=10_000) for session in full_history(60, 8, change=9)]
    assert baselines.RULES[name]([*others, *reversed(sessions)]) == expected
