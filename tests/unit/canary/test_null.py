"""The model under "nothing changed": what it takes off, what it leaves, and that nothing breaks it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.canary import null
from seatrial.canary.features import Features
from seatrial.canary.metrics import BY_NAME, METRICS
from seatrial.canary.power import power_of, sessions_a_side, sessions_to_hold, smallest_drop
from seatrial.canary.table import build, stratum_means

from .histories import DAY, MONDAY, full_history, history

THREE = [BY_NAME[name] for name in ("reads_per_edit", "errors", "output_per_prompt")]


def test_what_is_left_has_no_mean_in_any_project() -> None:
    table = build(full_history(200, 1))
    found = null.fit(table)
    names = [metric.name for metric in table.metrics]
    for column, name in enumerate(names):
        known = found.known[:, column] > 0
        assert not found.scores[~known, column].any()
        if known.any():
            means = stratum_means(found.scores[known, column], table.strata[known])
            assert np.abs(means).max() < 1e-9, name
            assert found.scores[known, column].std() > 0
    # Rare events are counted and have no model; what no session has is not known.
    for name in ("loops", "admissions", "turn_seconds"):
        assert not found.known[:, names.index(name)].any()


def test_what_never_varies_is_not_known() -> None:
    sessions = history(40, 2)
    for one in sessions:
        one.cells["implement"] |= {"errors": (0.0, 9.0), "rewrites": (7.0, 7.0), "reads_per_edit": (0.0, 3.0)}
    table = build(sessions, [BY_NAME[name] for name in ("errors", "rewrites", "reads_per_edit", "output_per_prompt")])
    assert null.fit(table).known.any(axis=0).tolist() == [False, False, False, True]
    assert null.fit(table, columns=[0]).known.any(axis=0).tolist() == [False] * 4
    assert not null.fit(table.select(np.arange(2))).known.any()


@pytest.mark.parametrize("column", range(3))
def test_what_follows_from_what_was_asked_is_taken_off(column: int) -> None:
    random = np.random.default_rng(3)
    sessions = history(400, 3, spread=0.3, projects=1)
    for one in sessions:
        length = float(random.normal(0, 1))
        one.covariates["log_prompt_characters"] = length
        factor = float(np.exp(0.6 * length))
        cell = one.cells["implement"]
        for name in ("reads_per_edit", "output_per_prompt"):
            cell[name] = (float(round(cell[name][0] * factor)), cell[name][1])
        cell["errors"] = (float(random.binomial(200, 1 / (1 + np.exp(2 - length)))), 200.0)
    table = build(sessions, THREE)
    lengths = np.array([one.covariates["log_prompt_characters"] for one in table.sessions])
    y, exposure = table.numerators[:, column], table.exposures[:, column]
    assert np.corrcoef(np.log((y + 0.5) / exposure), lengths)[0, 1] > 0.6
    assert abs(np.corrcoef(null.fit(table).scores[:, column], lengths)[0, 1]) < 0.15


@pytest.mark.parametrize("column", range(3))
def test_with_both_sides_fitted_what_is_expected_is_the_level_before(column: int) -> None:
    random = np.random.default_rng(4)
    sessions = history(300, 4, change=0.5, at=150, projects=1)
    for number, one in enumerate(sessions):
        cell = one.cells["implement"]
        y, exposure = cell["output_per_prompt"]
        cell["output_per_prompt"] = (0.5 * y if number >= 150 else y, exposure)
        cell["errors"] = (float(random.binomial(100, 0.1 if number >= 150 else 0.3)), 100.0)
    table = build(sessions, THREE)
    after = np.arange(300) >= 150
    y, exposure = table.numerators[:, column], table.exposures[:, column]
    expected = null.fit(table, [column], after).expected[:, column]
    single = null.fit(table, [column]).expected[:, column]
    if column == 2:
        y, exposure, expected, single = np.log(y / exposure), np.ones(300), expected, single
    level, seen = expected / exposure, y / exposure
    assert level[~after].mean() == pytest.approx(seen[~after].mean(), rel=0.1)
    assert level[after].mean() == pytest.approx(seen[~after].mean(), rel=0.1)
    # Without, it is what was seen on the whole.
    assert (single / exposure).mean() == pytest.approx(seen.mean(), rel=0.1)


def test_large_sessions_weigh_less_where_counts_scatter_more_than_chance() -> None:
    table = build(history(300, 5, projects=1), THREE)
    found = null.fit(table)
    assert found.dispersion[0] == pytest.approx(np.exp(0.36) - 1, rel=0.5)
    large = table.exposures[:, 0] > np.median(table.exposures[:, 0])
    assert found.weights[large, 0].mean() < found.weights[~large, 0].mean()
    sessions = history(300, 6, projects=1, spread=0.0)
    assert null.fit(build(sessions, THREE)).dispersion[0] < 0.02


def test_one_session_out_of_all_measure_weighs_little() -> None:
    sessions = history(60, 7, projects=1)
    wild = [replace(one, cells={"implement": dict(one.cells["implement"])}) for one in sessions]
    wild[30].cells["implement"]["output_per_prompt"] = (1e12, 1.0)
    tame, found = null.fit(build(sessions, THREE)), null.fit(build(wild, THREE))
    others = np.arange(60) != 30
    assert np.abs(found.expected[:, 2] - tame.expected[:, 2]).max() < 0.5
    assert found.weights[30, 2] < 0.2
    assert np.corrcoef(found.scores[others, 2], tame.scores[others, 2])[0, 1] > 0.95
    assert np.abs(found.scores[:, 2]).max() < 3


PAIR = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PAIR, st.integers(0, 2), st.floats(-50, 50)), min_size=1, max_size=25))
def test_whatever_is_counted_everything_is_finite(entries: list[tuple[tuple[int, int], int, float]]) -> None:
    sessions = []
    for number, ((y, exposure), project, length) in enumerate(entries):
        start = MONDAY + number * DAY
        cell = {m.name: (float(min(y, exposure) if m.family == "share" else y), float(exposure)) for m in METRICS}
        sessions.append(
            Features("codex", f"{number}", "", f"p{project}", start, start, cells={"other": cell},
                     covariates={"log_prompt_characters": length})
        )  # fmt: skip
    table = build(sessions)
    after = np.arange(table.size) >= table.size // 2
    for found in (null.fit(table), null.fit(table, None, after)):
        for values in (found.scores, found.expected, found.weights, found.dispersion):
            assert np.isfinite(values).all()
        assert (found.weights >= 0).all() and (found.dispersion >= 0).all()


def test_power_is_of_the_smaller_side() -> None:
    found = power_of(0.7, 60, 200, 3.0, np.log(1.25))
    assert found.more_for_30 == sessions_a_side(0.7, 0.3, 3.0) - 60 == 54
    assert found.more_to_hold == sessions_to_hold(0.7, np.log(1.25)) - 60 == 109
    assert found.drop == smallest_drop(0.7, 60, 200, 3.0)
    assert (power_of(0.7, 500, 500, 3.0, np.log(1.25)).more_to_hold, found.sigma) == (0, 0.7)
