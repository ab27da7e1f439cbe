"""Sizes: intervals that cover, whatever the kind of metric, and finite numbers of nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from seatrial.canary import null
from seatrial.canary.effect import Size, log_ratios, resampled, searched_size, size_at
from seatrial.canary.features import Features
from seatrial.canary.metrics import BY_NAME
from seatrial.canary.table import Table, build

from .histories import DAY, MONDAY, history

METRICS = [BY_NAME[name] for name in ("reads_per_edit", "errors", "output_per_prompt")]


def sized(table: Table, column: int, first: int, seed: int = 0, count: int = 200) -> Size:
    after = np.arange(table.size) >= first
    fitted = null.fit(table, [column], after)
    return size_at(table, fitted, column, after, resampled(table.strata, count, np.random.default_rng(seed)))


def halved_sizes(sessions: list[Features]) -> None:
    for one in sessions[len(sessions) // 2 :]:
        y, exposure = one.cells["implement"]["output_per_prompt"]
        one.cells["implement"]["output_per_prompt"] = (0.7 * y, exposure)


@pytest.mark.parametrize(("column", "change", "plant"), [
    (0, 0.7, lambda sessions: None), (2, 1.0, halved_sizes),
], ids=["counts", "sizes"])  # fmt: skip
def test_intervals_cover_a_planted_change(column: int, change: float, plant: Callable[[list[Features]], None]) -> None:
    hits95 = hits90 = 0
    points = []
    for seed in range(100):
        sessions = history(120, 1000 + seed, change=change, at=60)
        plant(sessions)
        size = sized(build(sessions, METRICS), column, 60, seed)
        hits95 += size.interval95[0] <= np.log(0.7) <= size.interval95[1]
        hits90 += size.interval90[0] <= np.log(0.7) <= size.interval90[1]
        points.append(size.log_ratio)
    assert 90 <= hits95 <= 99
    assert 80 <= hits90 <= 97
    assert np.mean(points) == pytest.approx(np.log(0.7), abs=0.04)


def test_two_projects_of_other_levels_are_no_change() -> None:
    sessions = history(400, 8, spread=0.2)
    random = np.random.default_rng(1)
    for number, one in enumerate(sessions):
        # Work moves to the project in which twice as much is read.
        project = int(random.random() < (0.8 if number >= 200 else 0.2))
        edits = 20
        reads = float(random.poisson((1 + project) * edits))
        one.project, one.cells["implement"]["reads_per_edit"] = f"project-{project}", (reads, float(edits))
    table = build(sessions, METRICS)
    size = sized(table, 0, 200)
    assert size.is_within(np.log(1.25))
    y, exposure = table.numerators[:, 0], table.exposures[:, 0]
    raw = np.log(y[200:].sum() / exposure[200:].sum()) - np.log(y[:200].sum() / exposure[:200].sum())
    assert raw > 0.25


@pytest.mark.parametrize(("before", "after", "sign"), [(0.0, 3.0, 1), (3.0, 0.0, -1), (0.0, 0.0, 0)])
@pytest.mark.parametrize("metric", ["reads_per_edit", "errors", "output_per_prompt"])
def test_nothing_on_a_side_has_a_finite_size(metric: str, before: float, after: float, sign: int) -> None:
    sessions = []
    for number in range(60):
        start = MONDAY + number * DAY
        y = after if number >= 30 else before
        cells = {"implement": {metric: (y + (number % 3 == 0) * (y > 0), 9.0)}}
        sessions.append(Features("codex", f"{number:02d}", "", "p", start, start, cells=cells))
    table = build(sessions, [BY_NAME[metric]])
    size = sized(table, 0, 30)
    values = [size.log_ratio, *size.interval90, *size.interval95]
    assert np.isfinite(values).all()
    assert size.interval95[0] <= size.interval90[0] <= size.interval90[1] <= size.interval95[1]
    # Of a size that is nothing there is no logarithm, so that one side is not known.
    assert np.sign(size.log_ratio) == (0 if metric == "output_per_prompt" else sign)
    random = np.random.default_rng(0)
    residuals = null.fit(table)
    searched, where = searched_size(table, residuals, 0, residuals.scores[:, 0], 30, random)
    assert np.isfinite([searched.log_ratio, *searched.interval95]).all()
    assert table.days[0] <= where.earliest <= where.day <= where.latest <= table.days[-1]


def test_sessions_that_are_not_compared_do_not_count() -> None:
    table = build(history(80, 9, change=0.5, at=40), METRICS)
    rows = np.ones(80, dtype=np.bool_)
    rows[[5, 60, 70]] = False
    residuals = null.fit(table)
    draws = resampled(table.strata, 50, np.random.default_rng(0))
    after = (np.arange(80) >= 40) & rows
    expected = size_at(table, residuals, 0, after, draws, rows)
    changed = replace(table, numerators=np.where(rows[:, None], table.numerators, 1e6))
    assert size_at(changed, residuals, 0, after, draws, rows) == expected
    assert size_at(changed, residuals, 0, after, draws) != expected


def test_draws_keep_the_size_of_every_project() -> None:
    strata = np.random.default_rng(0).integers(0, 3, 50)
    draws = resampled(strata, 40, np.random.default_rng(1))
    for stratum in range(3):
        assert (draws[:, strata == stratum].sum(axis=1) == (strata == stratum).sum()).all()
    assert draws.std(axis=0).min() > 0


def test_a_change_is_as_large_turned_round() -> None:
    table = build(history(120, 10, change=0.5, at=60), METRICS)
    residuals = null.fit(table)
    after = np.arange(120) >= 60
    one = np.ones((1, 120))
    for column in range(3):
        found = log_ratios(table, residuals, column, after, one)
        assert log_ratios(table, residuals, column, ~after, one) == pytest.approx(-found)
