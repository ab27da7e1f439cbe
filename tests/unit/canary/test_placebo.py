"""How often this history gives a false alarm: reproducible, and enough to say that nothing can be concluded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seatrial.canary import placebo, scan, search
from seatrial.canary.judge import Effort, judge
from seatrial.canary.metrics import BY_NAME

from .histories import history, logged

METRICS = [BY_NAME[name] for name in ("reads_per_edit", "errors", "output_per_prompt")]
SQUARE = 1.96**2


@pytest.mark.parametrize(("successes", "trials", "interval"), [
    (0, 0, (0.0, 1.0)),
    (0, 10, (0.0, SQUARE / (10 + SQUARE))),
    (10, 10, (10 / (10 + SQUARE), 1.0)),
    (5, 10, (0.2366, 0.7634)),
    (10, 200, (0.0274, 0.0896)),
    (0, 34, (0.0, 0.10152)),
    (0, 35, (0.0, 0.0989)),
])  # fmt: skip
def test_wilsons_interval_by_hand(successes: int, trials: int, interval: tuple[float, float]) -> None:
    assert placebo.wilson(successes, trials) == pytest.approx(interval, abs=5e-5)


def searched(seed: int, sessions: int = 240, **more: float) -> tuple[search.Prepared, scan.Scan]:
    given = history(sessions, seed, spread=0.4, change=more.get("change", 1.0), at=sessions // 2)
    prepared = search.prepare(given, METRICS)
    return prepared, search.search(prepared, 199, np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_placebos_and_plants() -> None:
    prepared, found = searched(1)
    results = [placebo.calibrate(prepared, found, 40, 15, np.random.default_rng(seed)) for seed in (5, 5, 6, 7, 8)]
    assert results[0] == results[1]
    assert any(result != results[0] for result in results[2:])
    first = judge(history(150, 2), Effort(99, 50, 40, 5, seed=3))
    again = judge(history(150, 2), Effort(99, 50, 40, 5, seed=3))
    assert first.placebo is not None
    assert (first.placebo, first.findings[0].size, first.reason) == (
        again.placebo, again.findings[0].size, again.reason,
    )  # fmt: skip


def test_a_quiet_history_is_calibrated_and_large_drops_are_found() -> None:
    found = placebo.calibrate(*searched(3), 100, 20, np.random.default_rng(0))
    assert found is not None
    assert found.runs == 100
    assert found.alarms <= 5
    assert found.interval == placebo.wilson(found.alarms, 100)
    assert found.is_calibrated
    assert set(found.found) == {0.3, 0.5}
    assert [runs for _, runs in found.found.values()] == [20, 20]
    assert found.found[0.5][0] == 20
    assert found.found[0.3][0] <= found.found[0.5][0]


def test_a_change_is_taken_out_before_placebos_are_made() -> None:
    prepared, found = searched(4, change=0.3)
    assert np.abs(found.statistics).max() > found.critical()
    calm = placebo.calibrate(prepared, found, 60, 0, np.random.default_rng(0))
    assert calm is not None
    assert calm.alarms <= 3
    assert calm.found == {}
    # Left in, every second placebo would find it again.
    random = np.random.default_rng(0)
    turned = [prepared.chosen[placebo.turned_round(prepared.table, random)] for _ in range(60)]
    loud = [np.abs(scan.statistics(s, prepared.table.strata, found.candidates)).max() for s in turned]
    assert np.mean(np.array(loud) > found.critical()) > 0.5


def test_turning_round_is_within_projects() -> None:
    prepared, _ = searched(5, 60)
    table = prepared.table
    for seed in range(20):
        order = placebo.turned_round(table, np.random.default_rng(seed))
        assert (table.strata[order] == table.strata).all()
        for stratum in np.unique(table.strata):
            rows = np.flatnonzero(table.strata == stratum)
            begin = int(np.flatnonzero(order[rows] == rows[0])[0])
            assert np.roll(rows, begin).tolist() == order[rows].tolist()


def test_without_dates_there_is_nothing_to_calibrate() -> None:
    prepared, found = searched(6)
    assert placebo.calibrate(prepared, found, 0, 5, np.random.default_rng(0)) is None
    assert placebo.calibrate(prepared, replace(found, is_testable=False), 9, 5, np.random.default_rng(0)) is None
    assert judge(history(12), Effort(19, 20, 20, 5)).placebo is None


@pytest.mark.parametrize(("placebos", "is_calibrated"), [(20, False), (60, True)])
def test_a_history_that_cannot_be_calibrated_is_inconclusive(placebos: int, is_calibrated: bool) -> None:
    sessions = logged(history(240, 7, spread=0.4, change=0.3, at=120))
    judged = judge(sessions, Effort(199, 100, placebos, 0))
    assert judged.placebo is not None
    assert judged.placebo.is_calibrated == is_calibrated
    if is_calibrated:
        assert judged.verdict == "REGRESSED"
    else:
        # No false alarm in twenty does not show that there is none in ten.
        assert judged.verdict == "INCONCLUSIVE"
        assert judged.reason == (
            "placebos on this history gave 0 false alarms in 20 (0% to 16%): it cannot be calibrated"
        )
    assert next(entry for entry in judged.findings if entry.metric.name == "reads_per_edit").state == "CHANGED"
