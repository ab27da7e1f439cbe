"""The whole judgement: what it takes to hold, what is not enough, and what rare events are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.canary_worlds import NUISANCES, drawn, prompt_drift
from seatrial.canary.features import Features
from seatrial.canary.judge import Effort, Judgement, judge
from seatrial.canary.verdict import Finding

from .histories import DAY, MONDAY, full_history, history, logged

EFFORT = Effort(permutations=199, draws=200, placebos=0)
SIZES = ("output_per_prompt", "text_per_tool_call", "signature_length")


def noisy(sessions: int, seed: int, sigma: float, per_day: int = 3) -> list[Features]:
    """Sessions of one project in which nothing changes; three metrics whose logarithms have the deviation `sigma`."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(sessions):
        start = MONDAY + (number // per_day) * DAY + 3600.0 * (number % per_day)
        cells = {name: (float(np.exp(random.normal(6, sigma)) * 4), 4.0) for name in SIZES}
        made.append(Features("codex", f"{number:05d}", "", "p", start, start + 60, prompts=4, cells={"other": cells}))
    return logged(made)


def finding(judged: Judgement, metric: str) -> Finding:
    return next(entry for entry in judged.findings if entry.metric.name == metric)


def test_at_sixty_a_side_noise_is_inconclusive_and_what_it_takes_is_said() -> None:
    missing, states = [], []
    for seed in range(16):
        judged = judge(noisy(120, seed, 0.7), EFFORT)
        assert judged.verdict == "INCONCLUSIVE"
        assert judged.boundary.counts == (60, 60)
        for name in SIZES:
            found = finding(judged, name)
            states.append(found.state)
            assert found.power is not None
            missing.append(found.power.more_to_hold)
    # By chance one in twelve or so lies close enough to nothing.
    assert states.count("UNRESOLVED") >= 40
    # 169 a side are needed at 0.7, so that 109 are missing.
    assert np.mean(missing) == pytest.approx(109, rel=0.15)


def test_many_quiet_sessions_hold() -> None:
    for seed in range(3):
        judged = judge(noisy(600, seed, 0.2, per_day=6), EFFORT)
        assert (judged.verdict, judged.reason) == ("HOLDING", "all 3 metrics stay within -20 % and +25 %")
        for name in SIZES:
            found = finding(judged, name)
            assert found.state in ("EQUIVALENT", "NEGLIGIBLE")
            assert found.power is not None and found.power.more_to_hold == 0


def test_two_quiet_metrics_are_too_few_to_hold() -> None:
    sessions = noisy(600, 0, 0.2, per_day=6)
    for one in sessions:
        del one.cells["other"]["signature_length"]
    judged = judge(sessions, EFFORT)
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.reason.startswith("only 2 metrics can be tested")
    assert finding(judged, "signature_length").why == "0 sessions before and 0 after say something of it"


def test_a_label_that_differs_does_not_hold() -> None:
    sessions = noisy(600, 1, 0.2, per_day=6)
    random = np.random.default_rng(0)
    for one in sessions:
        # Both versions from the first day on: none is new, and no date is special.
        one.labels = {"version": "2" if random.random() < 0.5 else "1"}
        if one.labels["version"] == "2":
            y, exposure = one.cells["other"]["output_per_prompt"]
            one.cells["other"]["output_per_prompt"] = (1.6 * y, exposure)
    judged = judge(sessions, EFFORT)
    assert judged.verdict == "INCONCLUSIVE"
    assert finding(judged, "output_per_prompt").state == "UNRESOLVED"
    assert {entry.metric for entry in judged.named if entry.is_different} == {"output_per_prompt"}


@pytest.mark.parametrize(
    ("change", "verdict", "direction"), [(0.35, "REGRESSED", "harmful"), (2.8, "IMPROVED", "good")]
)
def test_a_change_is_found_and_called_what_it_is(change: float, verdict: str, direction: str) -> None:
    judged = judge(logged(history(160, 2, change=change, at=80)), EFFORT)
    found = finding(judged, "reads_per_edit")
    assert (judged.verdict, found.state, found.direction) == (verdict, "CHANGED", direction)
    assert found.size is not None and found.location is not None and found.boundary is not None
    assert found.size.log_ratio == pytest.approx(np.log(change), abs=0.35)
    assert found.location.earliest <= judged.prepared.table.days[80] <= found.location.latest
    assert found.p == pytest.approx(1 / 200)
    assert found.sessions == found.boundary.counts
    assert (found.after < found.before) == (change < 1)
    assert finding(judged, "errors").state != "CHANGED"


@pytest.mark.parametrize("nuisance", NUISANCES)
def test_what_is_no_change_of_the_agent_is_none(nuisance: str) -> None:
    base = logged(full_history(160, 1))
    verdicts = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        sessions = drawn(base, 120, random)
        NUISANCES[nuisance](sessions, random)
        verdicts.append(judge(sessions, EFFORT).verdict)
    assert verdicts.count("INCONCLUSIVE") >= 3, verdicts


def test_what_follows_the_prompts_is_said_to() -> None:
    named = 0
    for seed in range(4):
        random = np.random.default_rng(seed)
        sessions = drawn(logged(history(160, 3, spread=0.2, projects=1)), 240, random)
        prompt_drift(sessions, random)
        prompt_drift(sessions, random)
        judged = judge(sessions, EFFORT)
        assert judged.verdict in ("INCONCLUSIVE", "HOLDING")
        named += "reads_per_edit" in judged.by_work
    assert named >= 3


def test_rare_events_are_tested_at_the_boundary_or_not_at_all() -> None:
    sessions = logged(full_history(120, 4))
    for number, one in enumerate(sessions):
        one.cells["implement"]["loops"] = (3.0 * (number >= 60 and number % 2), 60.0)
        one.cells["implement"]["dodging"] = (float(number in (3, 90)), 60.0)
        one.cells["implement"]["admissions"] = (float(number % 4 == 0), 60.0)
    judged = judge(sessions, EFFORT)
    loops, dodging, admissions = (finding(judged, name) for name in ("loops", "dodging", "admissions"))
    assert (loops.state, loops.direction) == ("CHANGED", "harmful")
    assert loops.rare is not None and (loops.rare.before, loops.rare.after) == (0, 90)
    assert (dodging.state, dodging.why) == ("NOT TESTABLE", "1 and 1 events are too few")
    assert admissions.state == "UNRESOLVED"
    # However many there are, they decide nothing.
    assert judged.verdict == "INCONCLUSIVE"


def test_a_new_model_that_thinks_less_is_a_change_and_no_regression() -> None:
    verdicts = []
    for is_new_model in (True, False):
        sessions = noisy(200, 5, 0.4)
        for number, one in enumerate(sessions):
            is_late = number >= 100
            one.labels = {"model": "two" if is_late and is_new_model else "one", "version": "1"}
            if is_late:
                y, exposure = one.cells["other"]["signature_length"]
                one.cells["other"]["signature_length"] = (0.4 * y, exposure)
        judged = judge(sessions, EFFORT)
        found = finding(judged, "signature_length")
        assert found.attribution is not None
        verdicts.append((judged.verdict, found.direction, found.attribution.label))
    assert verdicts == [("CHANGED", "neutral", "MODEL"), ("REGRESSED", "harmful", "UNEXPLAINED")]


def test_projects_that_are_seen_on_one_side_only_are_no_evidence() -> None:
    sessions = logged(history(120, 6, change=0.2, at=60))
    for number, one in enumerate(sessions):
        one.project = "old" if number < 60 else "new"
    judged = judge(sessions, EFFORT)
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.standing.informative == 0
    assert judged.reason.startswith("only 0% of the sessions are in projects seen both before and after")
    assert all(entry.state != "CHANGED" for entry in judged.findings)


@pytest.mark.parametrize(("sessions", "reason"), [
    (0, "0 sessions of a person; at least 20 are needed"),
    (1, "1 session of a person; at least 20 are needed"),
    (19, "19 sessions of a person; at least 20 are needed"),
    (24, "no date has 10 sessions and 5 active days on both sides"),
])  # fmt: skip
def test_few_sessions_are_inconclusive(sessions: int, reason: str) -> None:
    judged = judge(logged(history(sessions, 7, change=0.1, at=sessions // 2)), EFFORT)
    assert (judged.verdict, judged.reason) == ("INCONCLUSIVE", reason)
    assert judged.location is None


def test_excluded_sessions_change_nothing() -> None:
    sessions = logged(history(120, 8))
    others = [replace(one, excluded="scripted") for one in history(40, 9, change=9, at=0)]
    judged, expected = judge([*others, *sessions], EFFORT), judge(sessions, EFFORT)
    assert (judged.verdict, judged.reason) == (expected.verdict, expected.reason)
    assert [entry.size for entry in judged.findings] == [entry.size for entry in expected.findings]
