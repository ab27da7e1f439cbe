"""The search over dates and metrics: exact where it can be enumerated, honest where nothing has changed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from seatrial.canary import scan
from seatrial.canary.effect import resampled as resample
from seatrial.canary.effect import searched_size, size_at
from seatrial.canary.metrics import BY_NAME
from seatrial.canary.null import Residuals, fit
from seatrial.canary.power import sessions_a_side, sessions_to_hold, sigma_of, smallest_drop
from seatrial.canary.table import Table, build, stratum_means

from .histories import history

METRICS = [BY_NAME[name] for name in ("reads_per_edit", "errors", "output_per_prompt")]


def scanned(table: Table, residuals: Residuals, count: int = 199, seed: int = 0, block_days: int = 0) -> scan.Scan:
    return scan.scan(
        residuals.scores,
        table.days,
        table.strata,
        permutations_count=count,
        random=np.random.default_rng(seed),
        block_days=block_days,
    )


def test_permutations_equal_enumeration() -> None:
    random = np.random.default_rng(3)
    days, strata = np.arange(8), np.zeros(8, dtype=np.int64)
    values = random.normal(size=(8, 2))
    scores = values - values.mean(axis=0)
    found = scan.candidates(days, strata, a_side=2, days_a_side=2)
    seen = np.abs(scan.statistics(scores, strata, found)).max()
    every = [
        np.abs(scan.statistics(scores[list(order)], strata, found)).max() for order in itertools.permutations(range(8))
    ]
    exact = np.mean(np.array(every) >= seen - 1e-12)
    drawn = [
        np.abs(scan.statistics(scores[order], strata, found)).max()
        for order in scan.permutations(days, strata, 4000, random, 0)
    ]
    assert np.mean(np.array(drawn) >= seen - 1e-12) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4000))


def test_the_variance_is_that_of_all_permutations() -> None:
    random = np.random.default_rng(5)
    days, strata = np.arange(6), np.array([0, 1, 0, 1, 0, 0])
    values = random.normal(size=(6, 1))
    scores = values - stratum_means(values, strata)
    found = scan.candidates(days, strata, a_side=2, days_a_side=2)
    sums = []
    for first in itertools.permutations([0, 2, 4, 5]):
        for second in itertools.permutations([1, 3]):
            moved = np.empty(6, dtype=np.int64)
            moved[[0, 2, 4, 5]], moved[[1, 3]] = first, second
            sums.append(scores[moved][found.firsts[0] :].sum())
    assert scan.deviations(scores, strata, found)[0, 0] == pytest.approx(np.std(sums))


@pytest.mark.parametrize("block_days", [0, 3])
def test_permutations_stay_in_their_stratum(block_days: int) -> None:
    random = np.random.default_rng(1)
    strata = random.integers(0, 3, 60)
    days = np.sort(random.integers(0, 25, 60))
    orders = list(scan.permutations(days, strata, 20, random, block_days))
    for order in orders:
        assert sorted(order) == list(range(60))
        assert (strata[order] == strata).all()
    assert len({tuple(order) for order in orders}) > 15


def test_a_project_on_one_side_only_says_nothing() -> None:
    strata = np.repeat([0, 1], 30)
    days = np.arange(60)
    values = np.where(strata == 1, 5.0, 0.0)[:, None] + np.random.default_rng(2).normal(size=(60, 1)) * 0.01
    scores = values - stratum_means(values, strata)
    found = scan.candidates(days, strata)
    border = int(np.flatnonzero(found.firsts == 30)[0])
    assert found.spread[border].tolist() == [0.0, 0.0]
    assert scan.statistics(scores, strata, found)[border, 0] == 0.0


def test_p_values_are_uniform_when_nothing_has_changed() -> None:
    found = []
    for seed in range(120):
        table = build(history(60, seed), METRICS)
        result = scanned(table, fit(table), 99, seed)
        found.append(result.adjusted(np.abs(result.statistics).max()))
    p = np.array(found)
    assert 0.01 < np.mean(p <= 0.1) < 0.2
    assert 0.35 < np.mean(p <= 0.5) < 0.65


def test_a_drop_is_found_dated_and_sized() -> None:
    table = build(history(160, 4, change=0.5, at=80), METRICS)
    residuals = fit(table)
    result = scanned(table, residuals)
    assert result.adjusted(np.abs(result.statistics[:, 0]).max()) == pytest.approx(1 / 200)
    assert result.adjusted(np.abs(result.statistics[:, 1]).max()) > 0.05
    random = np.random.default_rng(0)
    size, place = searched_size(table, residuals, 0, residuals.scores[:, 0], 100, random)
    true_day = table.days[80]
    assert place.earliest <= true_day <= place.latest
    assert place.latest - place.earliest <= 14
    assert size.interval95[0] < np.log(0.5) < size.interval95[1]
    assert size.is_clear
    assert not size.is_within(np.log(1.25))


def test_intervals_cover() -> None:
    hits = 0
    for seed in range(60):
        table = build(history(120, 100 + seed, change=0.7, at=60), METRICS)
        residuals = fit(table)
        draws = resample(table.strata, 200, np.random.default_rng(seed))
        size = size_at(table, residuals, 0, np.arange(120) >= 60, draws)
        hits += size.interval95[0] <= np.log(0.7) <= size.interval95[1]
    assert hits >= 52


def test_days_that_resemble_the_day_before_are_noticed() -> None:
    random = np.random.default_rng(8)
    days, strata = np.repeat(np.arange(60), 2), np.zeros(120, dtype=np.int64)
    noise = np.zeros(60)
    for day in range(1, 60):
        noise[day] = 0.7 * noise[day - 1] + random.normal()
    values = np.repeat(noise, 2)[:, None] + random.normal(size=(120, 1)) * 0.3
    assert scan.resemblance(values - values.mean(), days, strata)[0][0] > 0.4
    plain = random.normal(size=(120, 1))
    assert scan.resemblance(plain - plain.mean(), days, strata)[0][0] < 0.25


def test_too_few_days_cannot_be_searched() -> None:
    table = build(history(24, per_day=6), METRICS)
    assert not scanned(table, fit(table)).is_testable
    table = build(history(60), METRICS)
    assert not scanned(table, fit(table), block_days=5).is_testable


def test_sessions_needed_are_those_of_the_formulas() -> None:
    assert [sessions_a_side(0.7, drop) for drop in (0.1, 0.2, 0.3, 0.5, 0.7)] == [693, 155, 61, 17, 6]
    assert [sessions_to_hold(sigma, np.log(1.25)) for sigma in (0.7, 0.5, 0.43)] == [169, 87, 64]
    assert smallest_drop(0.7, 60, 60, 3.0) == pytest.approx(0.39, abs=0.005)


def test_the_spread_is_that_of_a_session() -> None:
    table = build(history(400, 6, spread=0.6, projects=1), METRICS)
    residuals = fit(table)
    middle = scan.candidates(table.days, table.strata)
    half = len(middle.days) // 2
    one = scan.Candidates(middle.days[[half]], middle.firsts[[half]], middle.spread[[half]])
    assert sigma_of(table, residuals, 2, one) == pytest.approx(0.6, rel=0.15)
    assert sigma_of(table, residuals, 0, one) == pytest.approx(0.64, rel=0.25)
