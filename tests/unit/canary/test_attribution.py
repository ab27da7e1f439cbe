"""Where a change comes from: arithmetic that adds up, and who else changed at the same time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.canary_causes import CAUSES, said
from bench.canary_worlds import READS, drawn, thinned
from seatrial.canary import attribution, null
from seatrial.canary.boundary import Boundary, at_date
from seatrial.canary.effect import Location, resampled
from seatrial.canary.features import Features
from seatrial.canary.judge import Effort, judge
from seatrial.canary.metrics import BY_NAME
from seatrial.canary.suspects import suspects_at
from seatrial.canary.table import Table, build

from .histories import DAY, MONDAY, full_history, history, logged

Cells = dict[str, tuple[float, float]]
"""Numerator and exposure by class of prompt."""


def table_of(sides: Sequence[Sequence[Cells]], metric: str = "reads_per_edit") -> Table:
    """Sessions before and after with what one metric counts in each, one session a day."""
    made = []
    for number, cells in enumerate([*sides[0], *sides[1]]):
        kept = {kind: {metric: pair} for kind, pair in cells.items()}
        start = MONDAY + number * DAY
        made.append(Features("codex", f"{number:03d}", "", "p", start, start, cells=kept))
    return build(made, [BY_NAME[metric]])


def parts_of(sides: Sequence[Sequence[Cells]], metric: str = "reads_per_edit") -> tuple[float, float, float]:
    """Composition, rate and the share that does not compare; every session weighs the same."""
    table = table_of(sides, metric)
    ones = np.ones((table.size, 1))
    residuals = null.Residuals(ones * 0, ones, ones, ones, np.zeros(1))
    boundary = at_date(table, int(table.days[len(sides[0])]))
    draws = resampled(table.strata, 20, np.random.default_rng(0))
    composition, rate, incomparable = attribution.parts(table, residuals, 0, boundary, draws)
    if composition is None or rate is None:
        return math.nan, math.nan, incomparable
    return composition.log_ratio, rate.log_ratio, incomparable


def test_parts_by_hand() -> None:
    before = [{"question": (40.0, 10.0), "implement": (10.0, 10.0)}] * 10
    after = [{"question": (10.0, 5.0), "implement": (15.0, 15.0)}] * 10
    # Rates 4 and 1 become 2 and 1, shares ½ and ½ become ¼ and ¾: 2.5 becomes 1.25.
    # Composition -¼·3 + ¼·1 = -½, rate -2·⅜ = -¾, of -1¼ in all.
    composition, rate, incomparable = parts_of((before, after))
    assert composition == pytest.approx(0.4 * math.log(0.5))
    assert rate == pytest.approx(0.6 * math.log(0.5))
    assert incomparable == 0


def test_other_work_alone_is_composition_and_other_ways_alone_are_rate() -> None:
    before = [{"question": (40.0, 10.0), "implement": (10.0, 10.0)}] * 5
    work = [{"question": (4.0, 1.0), "implement": (19.0, 19.0)}] * 5
    composition, rate, _ = parts_of((before, work))
    assert rate == pytest.approx(0)
    assert composition == pytest.approx(math.log(1.15 / 2.5))
    ways = [{"question": (20.0, 10.0), "implement": (5.0, 10.0)}] * 5
    composition, rate, _ = parts_of((before, ways))
    assert composition == pytest.approx(0)
    assert rate == pytest.approx(math.log(0.5))


def test_what_is_seen_on_one_side_only_is_not_compared() -> None:
    before = [{"question": (40.0, 10.0), "implement": (10.0, 10.0)}] * 5
    after = [{"implement": (20.0, 10.0), "plan": (90.0, 30.0)}] * 5
    # Few sessions have both kinds on both sides: what is rare is put together.
    composition, rate, incomparable = parts_of((before, after))
    assert incomparable == 0
    assert composition + rate == pytest.approx(math.log((110 / 40) / (50 / 20)))
    table = table_of((before, [{"implement": (0.0, 0.0)}] * 5))
    ones = np.ones((10, 1))
    residuals = null.Residuals(ones * 0, ones, ones, ones, np.zeros(1))
    nothing = attribution.parts(table, residuals, 0, at_date(table, int(table.days[5])), np.ones((3, 10)))
    assert nothing == (None, None, 1.0)


KINDS = ("plan", "question", "debug")
COUNTS = st.tuples(st.integers(0, 60), st.integers(1, 40))
SIDE = st.lists(st.fixed_dictionaries(dict.fromkeys(KINDS, COUNTS)), min_size=3, max_size=6)


def whole(side: Sequence[Cells]) -> float:
    return sum(y for cells in side for y, _ in cells.values()) / sum(e for cells in side for _, e in cells.values())


@settings(max_examples=150, deadline=None)
@given(SIDE, SIDE)
def test_the_parts_add_up_to_the_whole(before: list[Cells], after: list[Cells]) -> None:
    if not whole(before) or not whole(after):
        return
    composition, rate, incomparable = parts_of((before, after))
    assert incomparable == 0
    assert composition + rate == pytest.approx(math.log(whole(after) / whole(before)), abs=1e-6)


SIZE = st.tuples(st.floats(0.1, 1e5), st.integers(1, 9))
SIZES = st.lists(st.fixed_dictionaries(dict.fromkeys(KINDS, SIZE)), min_size=3, max_size=6)


@settings(max_examples=100, deadline=None)
@given(SIZES, SIZES)
def test_the_parts_of_a_size_add_up_to_the_difference_of_its_logarithms(
    before: list[Cells], after: list[Cells]
) -> None:
    means = [np.mean([math.log(y / e) for cells in side for y, e in cells.values()]) for side in (before, after)]
    composition, rate, _ = parts_of((before, after), "output_per_prompt")
    assert composition + rate == pytest.approx(means[1] - means[0], abs=1e-6)


EFFORT = Effort(permutations=199, draws=100, placebos=0)


@pytest.mark.parametrize("name", CAUSES)
def test_who_changed_is_said(name: str) -> None:
    cause, labels = CAUSES[name], []
    base = logged(full_history(160, 1))
    for seed in range(5):
        random = np.random.default_rng(seed)
        sessions = drawn(base, 120, random)
        cause.make(sessions, random)
        labels.append(said(judge(sessions, EFFORT)))
    assert sum(label in cause.right for label in labels) >= 4, labels
    assert set(labels) <= {*cause.right, *cause.open_}


def test_without_a_cause_nobody_is_blamed() -> None:
    base = logged(full_history(160, 1))
    labels = [said(judge(drawn(base, 120, np.random.default_rng(seed)), EFFORT)) for seed in range(5)]
    assert labels.count("none") >= 4


def at_half(sessions: Sequence[Features]) -> tuple[Table, Boundary, Location]:
    table = build(sessions)
    day = int(table.days[table.size // 2])
    return table, at_date(table, day), Location(day, day - 1, day)


def test_what_moved_at_a_date() -> None:
    sessions = history(120, 2)
    for number, one in enumerate(sessions):
        is_late = number >= 60
        one.labels = {
            "model": "mixed" if number % 5 == 0 else "one",
            "version": "2" if is_late else "1",
            "effort": ("high" if is_late else "") if number % 2 else "",
        }
        one.covariates["log_prompt_characters"] -= 2.0 * is_late
    table, boundary, location = at_half(sessions)
    found = suspects_at(table, table.column("reads_per_edit"), boundary, location)
    assert found.moved == {"model": False, "version": True, "effort": False}
    # Effort was in no log before, so that it is not known to have changed.
    assert found.is_known == {"model": True, "version": True, "effort": False}
    assert found.shown == {"model": "", "version": "1 → 2", "effort": ""}
    assert found.sides["version"].tolist() == [0.0] * 60 + [1.0] * 60
    assert np.isnan(found.sides["model"][::5]).all()
    change, p = found.control
    assert change == pytest.approx(-2.0, abs=0.5)
    assert p == pytest.approx(0.001)


def test_a_version_that_came_to_a_third_of_the_sessions_has_not_moved() -> None:
    sessions = history(120, 3)
    for number, one in enumerate(sessions):
        one.labels = {"model": "one", "version": "2" if number >= 60 and number % 3 == 0 else "1"}
    table, boundary, location = at_half(sessions)
    assert not suspects_at(table, table.column("reads_per_edit"), boundary, location).moved["version"]


def test_other_prompts_at_the_same_time_are_the_users() -> None:
    sessions = drawn(logged(full_history(160, 1)), 120, np.random.default_rng(3))
    random = np.random.default_rng(4)
    for number, one in enumerate(sessions):
        is_late = number >= 60
        # As many long prompts on both sides of one, so that length explains no reads.
        one.covariates["log_prompt_characters"] = 5.0 - 2.0 * is_late + float(random.normal(0, 2))
        if is_late:
            thinned(one, READS, 0.3, random)
            one.labels["model"] = "model-2"
    table, boundary, location = at_half(sessions)
    column = table.column("reads_per_edit")
    residuals = null.fit(table)
    draws = resampled(table.strata, 100, random)
    found = attribution.attribute(table, residuals, residuals.scores, column, boundary, location, draws)
    assert found.label == "USER"
    assert found.why.startswith("the length of the prompts changed at the same time (-8")
    for one in sessions:
        one.covariates["log_prompt_characters"] = 5.0
    table = build(sessions)
    residuals = null.fit(table)
    found = attribution.attribute(table, residuals, residuals.scores, column, boundary, location, draws)
    assert (found.label, found.why) == ("MODEL", "the model changed (model-1 → model-2), version and effort did not")
    assert found.is_of_rate


def test_logs_without_labels_cannot_tell() -> None:
    sessions = drawn(logged(full_history(160, 1)), 120, np.random.default_rng(5))
    for number, one in enumerate(sessions):
        one.labels = {}
        if number >= 60:
            thinned(one, READS, 0.3, np.random.default_rng(number))
    table, boundary, location = at_half(sessions)
    residuals = null.fit(table)
    draws = resampled(table.strata, 50, np.random.default_rng(0))
    where = table.column("reads_per_edit"), boundary, location, draws
    found = attribution.attribute(table, residuals, residuals.scores, *where)
    assert (found.label, found.why) == ("cannot tell", "the logs name neither model nor version")


@pytest.mark.parametrize(("steps", "label"), [(4, "MODEL"), (1, "MODEL or HARNESS")])
def test_by_exclusion_of_versions_that_changed_nothing(steps: int, label: str) -> None:
    sessions = drawn(logged(full_history(160, 1)), 160, np.random.default_rng(6))
    random = np.random.default_rng(7)
    for number, one in enumerate(sessions):
        is_late = number >= 80
        # Changes of version under one model, and one together with the model's.
        version = number * (steps // 2 + 1) // 80 if steps > 1 else int(is_late)
        one.labels |= {"version": f"1.{version}", "model": "model-2" if is_late else "model-1"}
        if is_late:
            thinned(one, READS, 0.3, random)
    table, boundary, location = at_half(sessions)
    residuals = null.fit(table)
    column = table.column("reads_per_edit")
    known = residuals.known[:, column] > 0
    found = suspects_at(table, column, boundary, location)
    assert found.moved["model"] and found.moved["version"]
    count, largest, here = found.precedents(table, residuals.scores[:, column], known)
    assert count == (steps if steps > 1 else 0)
    assert here < 0
    assert largest < 0.6 * abs(here)
    draws = resampled(table.strata, 50, random)
    said_ = attribution.attribute(table, residuals, residuals.scores, column, boundary, location, draws)
    assert said_.label == label
    assert ("by exclusion" in said_.why) == (label == "MODEL")


def test_sessions_that_are_not_compared_count_for_nothing() -> None:
    before = [{"question": (40.0, 10.0), "implement": (10.0, 10.0)}] * 10
    after = [{"question": (10.0, 5.0), "implement": (15.0, 15.0)}] * 10
    table = table_of((before, after))
    rows = np.ones(20, dtype=np.bool_)
    rows[[3, 12]] = False
    ones = np.ones((20, 1))
    residuals = null.Residuals(ones * 0, ones, ones, ones, np.zeros(1))
    results = []
    for change in (1.0, 50.0):
        numerators = table.numerators * np.where(rows, 1, change)[:, None]
        boundary = Boundary(int(table.days[10]), rows, (np.arange(20) >= 10) & rows, "version", "2")
        cells = [
            one if kept else replace(one, cells={"question": {"reads_per_edit": (change, 1.0)}})
            for one, kept in zip(table.sessions, rows, strict=True)
        ]
        made = replace(table, numerators=numerators, sessions=tuple(cells))
        results.append(attribution.parts(made, residuals, 0, boundary, rows * np.ones((5, 1)))[:2])
    assert results[0] == results[1]
