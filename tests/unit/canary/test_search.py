"""The whole search, over dates and labels: exact where it can be enumerated, uniform where nothing has changed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from seatrial.canary import boundary, named, null, scan, search
from seatrial.canary.boundary import Boundary
from seatrial.canary.contrast import difference
from seatrial.canary.effect import resampled
from seatrial.canary.features import Features
from seatrial.canary.metrics import BY_NAME
from seatrial.canary.table import Floats, Integers, build, stratum_means

from .histories import history

METRICS = [BY_NAME[name] for name in ("reads_per_edit", "errors", "output_per_prompt")]


def orders(strata: Integers) -> list[Integers]:
    """Every order of sessions within strata."""
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    found = []
    for parts in itertools.product(*(itertools.permutations(rows) for rows in groups)):
        order = np.empty(len(strata), dtype=np.int64)
        for rows, part in zip(groups, parts, strict=True):
            order[rows] = part
        found.append(order)
    return found


def within(exact: float, count: int) -> float:
    return 4 * float(np.sqrt(exact * (1 - exact) / count)) + 1 / count


@pytest.mark.parametrize("seed", range(4))
def test_one_comparison_of_eight_sessions_equals_enumeration(seed: int) -> None:
    random = np.random.default_rng(seed)
    strata = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    values = random.normal(size=8) + strata
    side = np.array([0, 1, 0, 0, 1, 0, 1, 1], dtype=np.bool_)
    left, z = values - stratum_means(values, strata), side - stratum_means(side.astype(np.float64), strata)
    every = orders(strata)
    assert len(every) == 576
    exact = float(np.mean([abs(left[order] @ z) >= abs(left @ z) - 1e-9 for order in every]))
    found, p = difference(values, side, strata, 3000)
    assert p == pytest.approx(exact, abs=within(exact, 3000))
    by_hand = np.mean([values[side & (strata == s)].mean() - values[~side & (strata == s)].mean() for s in (0, 1)])
    # One project has one session of four on the late side, the other three: both weigh the same.
    assert found == pytest.approx(by_hand)
    assert difference(values, side, strata, 3000) == (found, p)


def test_a_label_of_eight_sessions_equals_enumeration() -> None:
    table = build(history(8, 3, projects=1), METRICS)
    residuals = null.fit(table)
    after = np.array([0, 1, 0, 1, 1, 0, 0, 1], dtype=np.bool_)
    made = Boundary(int(table.days[1]), np.ones(8, dtype=np.bool_), after, "version", "2")
    draws = resampled(table.strata, 20, np.random.default_rng(0))
    count = 3000
    found = named.compare(table, residuals, residuals.scores, [0, 2], [made], draws, count, np.random.default_rng(1))
    side = after - 0.5
    for entry, column in zip(found, (0, 2), strict=True):
        scores = residuals.scores[:, column]
        seen = abs(scores @ side)
        exact = float(np.mean([abs(scores[order] @ side) >= seen - 1e-9 for order in orders(table.strata)]))
        assert entry.p == pytest.approx(exact, abs=within(exact, count))
        assert entry.sessions == (4, 4)
        assert entry.q >= entry.p
    assert max(entry.q for entry in found) == pytest.approx(max(entry.p for entry in found))


def labelled(sessions: Sequence[Features], random: np.random.Generator) -> list[Features]:
    """The sessions with a new version in a third of the later ones, by chance."""
    late = len(sessions) // 3
    return [
        replace(one, labels={**one.labels, "version": "2" if n >= late and random.random() < 0.5 else "1"})
        for n, one in enumerate(sessions)
    ]


def test_p_values_of_dates_and_labels_are_uniform_when_nothing_has_changed() -> None:
    count, found = 120, []
    for seed in range(count):
        random = np.random.default_rng(500 + seed)
        prepared = search.prepare(labelled(history(100, 500 + seed, per_day=2), random), METRICS)
        assert prepared.new_values
        result = search.search(prepared, 99, random)
        assert result.is_testable
        strongest = max(np.abs(result.statistics).max(), np.abs(result.of_labels).max())
        found.append(result.adjusted(float(strongest)) - random.random() / 100)
    p = np.sort(found)
    distance = max(np.abs(p - np.arange(count) / count).max(), np.abs(p - np.arange(1, count + 1) / count).max())
    assert distance < 1.63 / np.sqrt(count)  # Kolmogorov's 1 % bound


def test_a_project_on_one_side_contributes_nothing_at_all() -> None:
    random = np.random.default_rng(4)
    table = build(history(60, 4, projects=1), METRICS)
    strata = np.where(np.arange(60) < 40, 0, 1)
    two = replace(table, strata=strata)
    after = (np.arange(60) >= 20) & (strata == 0) | (strata == 1)
    made = Boundary(int(table.days[20]), np.ones(60, dtype=np.bool_), after)
    z = boundary.contrasts(two, [made])[0]
    assert z[40:].tolist() == [0.0] * 20
    assert z[:40].sum() == pytest.approx(0)
    assert z[:40].any()
    # Whatever the sessions of the project that is seen after only, the statistic is the same.
    for _ in range(3):
        scores = random.normal(size=(60, 1))
        changed = scores.copy()
        changed[40:] = 100 * random.normal(size=(20, 1))
        results = [
            scan.scan(each - stratum_means(each, strata), two.days, strata, permutations_count=1, random=random,
                      contrasts=z[None])
            for each in (scores, changed)
        ]  # fmt: skip
        assert results[0].of_labels == pytest.approx(results[1].of_labels)
    assert difference(np.arange(60.0), strata == 1, strata) == (0.0, 1.0)


def test_versions_that_live_side_by_side_are_told_apart() -> None:
    sessions = history(160, 5, per_day=4, projects=1)
    for number, one in enumerate(sessions):
        if number >= 40 and number % 2:
            reads, edits = one.cells["implement"]["reads_per_edit"]
            one.cells["implement"]["reads_per_edit"] = (float(round(reads * 0.3)), edits)
            one.labels = {**one.labels, "version": "2"}
    prepared = search.prepare(sessions, METRICS)
    result = search.search(prepared, 199, np.random.default_rng(0))
    place = [entry.value for entry in prepared.new_values].index("2")
    of_label = abs(result.of_labels[place, 0])
    assert result.adjusted(of_label) == pytest.approx(1 / 200)
    assert of_label > 1.4 * np.abs(result.statistics[:, 0]).max()
    assert result.adjusted(float(np.abs(result.of_labels[:, 1:]).max())) > 0.05
    draws = resampled(prepared.table.strata, 100, np.random.default_rng(0))
    found = named.compare(
        prepared.table, prepared.residuals, prepared.scores, [0, 1, 2], prepared.labelled, draws, 199,
        np.random.default_rng(0),
    )  # fmt: skip
    # Both versions: the one and the other are compared with what is left.
    assert {(entry.value, entry.metric) for entry in found if entry.is_different} == {
        ("1", "reads_per_edit"), ("2", "reads_per_edit"),
    }  # fmt: skip
    second = next(entry for entry in found if entry.value == "2" and entry.metric == "reads_per_edit")
    assert second.sessions == (60, 100)
    assert second.first_day.toordinal() == prepared.table.days[40]
    assert second.size.log_ratio == pytest.approx(np.log(0.3), abs=0.3)
    assert second.size.is_clear


def test_which_labels_can_be_compared() -> None:
    sessions = history(60, 6, per_day=2, projects=1)
    for number, one in enumerate(sessions):
        one.labels = {
            "model": "mixed" if number % 3 == 0 else "new" if number >= 30 else "old",
            "version": "rare" if number < 9 else "2",
            "effort": "high",
            "permission": "plan" if number % 2 else "",
        }
    table = build(sessions, METRICS)
    found = boundary.of_labels(table)
    # Nine sessions are too few, everybody's is none, and what is unknown is no value.
    assert [(entry.label, entry.value) for entry in found] == [("model", "old"), ("model", "new")]
    new = found[1]
    assert new.counts == (20, 20)
    assert new.day == table.days[31]
    assert not new.rows[::3].any()
    assert [boundary.is_new(table, entry) for entry in found] == [False, True]
    z = boundary.contrasts(table, found)
    assert z[1][new.after].tolist() == [0.5] * 20
    assert z[1][new.rows & ~new.after].tolist() == [-0.5] * 20
    assert not z[1][~new.rows].any()


def test_a_label_of_one_project_is_compared_within_it() -> None:
    sessions = history(80, 7, projects=2)
    for number, one in enumerate(sessions):
        one.project = f"project-{number % 2}"
        one.labels = {"version": "2" if number % 2 and number >= 40 else "1"}
    (one, two) = boundary.of_labels(build(sessions, METRICS))
    assert two.value == "2" if two.counts == (20, 20) else one.value == "2"
    for entry in (one, two):
        assert entry.rows.tolist() == [bool(number % 2) for number in range(80)]


def test_days_that_resemble_each_other_are_moved_in_blocks() -> None:
    random = np.random.default_rng(1)
    sessions = history(300, 8, spread=0.3)
    assert search.block_days(search.prepare(sessions, METRICS)) == 0
    effect = np.zeros(100)
    for day in range(1, 100):
        effect[day] = 0.7 * effect[day - 1] + random.normal(0, 0.5)
    for number, one in enumerate(sessions):
        for name in ("reads_per_edit", "output_per_prompt"):
            y, exposure = one.cells["implement"][name]
            one.cells["implement"][name] = (float(round(y * np.exp(effect[number // 3]))), exposure)
    prepared = search.prepare(sessions, METRICS)
    assert search.block_days(prepared) == scan.block_length(prepared.table.days) == 5
    result = search.search(prepared, 19, random)
    assert (result.block_days, result.is_testable) == (5, True)
    # 23 days are seven blocks of three, which are too few.
    short = search.search(search.prepare(sessions[:69], METRICS), 19, random)
    assert (short.block_days, short.is_testable) == (3, False)


def test_a_change_is_no_resemblance_of_days() -> None:
    changed = search.prepare(history(300, 9, change=0.3, at=150), METRICS)
    scores, days, strata = changed.chosen, changed.table.days, changed.table.strata
    assert scan.do_resemble(*scan.resemblance(scores, days, strata))
    assert search.block_days(changed) == 0
    assert search.search(changed, 19, np.random.default_rng(0)).block_days == 0


@pytest.mark.parametrize("block_days", [3, 7])
def test_blocks_stay_whole_and_in_their_project(block_days: int) -> None:
    random = np.random.default_rng(10)
    strata = np.arange(200) % 2
    days = np.repeat(np.arange(50), 4)
    neighbours = []
    for order in scan.permutations(days, strata, 30, random, block_days):
        assert (strata[order] == strata).all()
        assert sorted(order) == list(range(200))
        for stratum in (0, 1):
            own = order[strata == stratum]
            neighbours.append(float(np.mean(np.diff(own) == 2)))
    # Two sessions a day and project: one pair in 2·length is cut, and two more at the turn.
    assert np.mean(neighbours) == pytest.approx(1 - 1 / (2 * block_days), abs=0.03)
    single = next(scan.permutations(days, strata, 1, random, 0))
    assert np.mean(np.diff(single[strata == 0]) == 2) < 0.1


def test_what_is_excluded_is_not_searched() -> None:
    sessions = history(60, 11)
    more = [replace(one, excluded="scripted", session=f"x{n}") for n, one in enumerate(history(30, 12))]
    expected: Floats = search.prepare(sessions, METRICS).scores
    found = search.prepare([*more, *reversed(sessions)], METRICS)
    assert found.table.size == 60
    assert np.array_equal(found.scores, expected)


def test_metrics_that_few_sessions_have_are_not_searched() -> None:
    sessions = history(60, 13)
    for number, one in enumerate(sessions):
        one.cells["implement"]["signature_length"] = (500.0 * (number + 1), 1.0) if number < 19 else (0.0, 0.0)
        one.cells["implement"]["loops"] = (1.0, 9.0)
        one.cells["implement"]["shell_reads"] = (float(number % 3), 3.0)
    prepared = search.prepare(sessions)
    names = [prepared.table.metrics[column].name for column in prepared.searched]
    assert names == ["reads_per_edit", "errors", "output_per_prompt"]


def test_nothing_can_be_searched_in_nothing() -> None:
    prepared = search.prepare([])
    assert prepared.searched == [] and prepared.new_values == []
    result = search.search(prepared, 9, np.random.default_rng(0))
    assert not result.is_testable
    assert result.critical() == float("inf")


def test_the_largest_statistic_is_over_dates_and_labels() -> None:
    random = np.random.default_rng(14)
    days, strata = np.arange(60), np.arange(60) % 2
    values = random.normal(size=(60, 2))
    scores = values - stratum_means(values, strata)
    sides = random.random((4, 60)) < 0.5
    z = np.array([side - stratum_means(side.astype(np.float64), strata) for side in sides])
    found = scan.scan(scores, days, strata, permutations_count=50, random=np.random.default_rng(0), contrasts=z)
    dates = scan.candidates(days, strata)
    # The deviation of a contrast over all permutations, from many of them.
    drawn = [z @ scores[order] for order in scan.permutations(days, strata, 4000, random, 0)]
    deviation = np.std(drawn, axis=0)
    assert found.of_labels == pytest.approx(z @ scores / deviation, rel=0.06, abs=0.03)
    exact = (z @ scores) / found.of_labels
    largest = sorted(
        max(np.abs(scan.statistics(scores[order], strata, dates)).max(), np.abs(z @ scores[order] / exact).max())
        for order in scan.permutations(days, strata, 50, np.random.default_rng(0), 0)
    )
    assert found.largest == pytest.approx(np.array(largest))


def test_projects_with_few_sessions_are_one_for_each_person() -> None:
    sessions = history(40, 15)
    for number, one in enumerate(sessions):
        one.place = "ann" if number < 20 else "bob"
        one.project = "often" if number % 20 < 5 else f"few-{number % 20 // 4}"
    table = build(sessions, METRICS)
    assert table.stratum_names == ("ann/often", "ann/other", "bob/often", "bob/other")
    assert np.bincount(table.strata).tolist() == [5, 15, 5, 15]
