"""Every rule by which something is concluded."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import pytest

from seatrial.canary.effect import Size
from seatrial.canary.metrics import BY_NAME, METRICS
from seatrial.canary.rare import RareTest
from seatrial.canary.verdict import (
    RELEVANT,
    Attribution,
    Finding,
    Part,
    Standing,
    State,
    conclude,
    direction_of,
    state_of,
    with_attribution,
)

ENOUGH = Standing(40, 20, 20, 1.0)
RATE = Attribution("MODEL", "", Part(0.0, (-0.1, 0.1)), Part(-0.7, (-0.9, -0.5)))
WORK = Attribution("USER", "", Part(-0.5, (-0.7, -0.3)), Part(-0.2, (-0.4, -0.1)))
UNSURE = Attribution("cannot tell", "", Part(-0.1, (-0.3, 0.1)), Part(-0.7, (-1.5, 0.1)))
Direction = Literal["harmful", "good", "neutral"]


def finding(metric: str, state: State, direction: Direction = "neutral", found: Attribution | None = None) -> Finding:
    rare = RareTest(0, 9, 50, 50, 0, 9, 0.001, 0.001) if BY_NAME[metric].family == "rare" else None
    return Finding(BY_NAME[metric], state, "", (20, 20), 1.0, 2.0, attribution=found, direction=direction, rare=rare)


READS, ERRORS, CALLS, OUTPUT = "reads_per_edit", "errors", "calls_per_prompt", "output_per_prompt"
HOLD = [finding(name, "EQUIVALENT") for name in (READS, ERRORS, CALLS)]
OPEN = finding(OUTPUT, "UNRESOLVED")


@pytest.mark.parametrize(("standing", "reason"), [
    (replace(ENOUGH, sessions=0), "0 sessions of a person; at least 20 are needed"),
    (replace(ENOUGH, sessions=1), "1 session of a person; at least 20 are needed"),
    (replace(ENOUGH, sessions=19), "19 sessions of a person; at least 20 are needed"),
    (replace(ENOUGH, before=9), "9 sessions before and 20 after; at least 10 a side are needed"),
    (replace(ENOUGH, after=9), "20 sessions before and 9 after; at least 10 a side are needed"),
    (replace(ENOUGH, informative=0.49),
     "only 49% of the sessions are in projects seen both before and after; at least 50% are needed"),
    (replace(ENOUGH, reasons=("placebos failed", "something else")), "placebos failed"),
    # The first obstacle is the one that is said.
    (replace(ENOUGH, sessions=19, before=9, reasons=("placebos failed",)),
     "19 sessions of a person; at least 20 are needed"),
])  # fmt: skip
@pytest.mark.parametrize("found", [
    [finding(READS, "CHANGED", "harmful", RATE)], [finding(READS, "CHANGED", "good", RATE)], HOLD, [OPEN], [],
])  # fmt: skip
def test_whatever_was_found_an_obstacle_is_inconclusive(standing: Standing, reason: str, found: list[Finding]) -> None:
    assert conclude(found, standing) == ("INCONCLUSIVE", reason)


def test_at_the_limits_nothing_stands_in_the_way() -> None:
    assert conclude(HOLD, Standing(20, 10, 10, 0.5))[0] == "HOLDING"


CHANGES: list[tuple[list[Finding], str, str]] = [
    ([finding(READS, "CHANGED", "harmful", RATE)], "REGRESSED", "reads per edit: worse, given the same kind of work"),
    ([finding(READS, "CHANGED", "harmful")], "REGRESSED", "reads per edit: worse, given the same kind of work"),
    ([finding(READS, "CHANGED", "good", RATE)], "IMPROVED", "reads per edit: better, given the same kind of work"),
    ([*HOLD, finding(OUTPUT, "CHANGED")], "CHANGED", "output tokens per prompt: moved, for neither better nor worse"),
    ([finding(READS, "CHANGED", "harmful", RATE), finding(ERRORS, "CHANGED", "good", RATE)], "CHANGED",
     "reads per edit, failed tool calls: moved, some for the better and some for the worse"),
    ([finding(READS, "CHANGED", "harmful", WORK)], "CHANGED",
     "reads per edit: moved, but mostly because other work was asked for"),
    ([finding(READS, "CHANGED", "good", WORK)], "CHANGED",
     "reads per edit: moved, but mostly because other work was asked for"),
    ([finding(READS, "CHANGED", "harmful", UNSURE)], "CHANGED",
     "reads per edit: moved, but mostly because other work was asked for"),
    ([finding(READS, "CHANGED", "harmful", Attribution("cannot tell", ""))], "CHANGED",
     "reads per edit: moved, but mostly because other work was asked for"),
    # One that is of the rate is enough, and is the one that is said.
    ([finding(READS, "CHANGED", "harmful", WORK), finding(ERRORS, "CHANGED", "harmful", RATE)], "REGRESSED",
     "failed tool calls: worse, given the same kind of work"),
    # What moved for neither does not stand against it.
    ([finding(CALLS, "CHANGED"), finding(ERRORS, "CHANGED", "harmful", RATE)], "REGRESSED",
     "failed tool calls: worse, given the same kind of work"),
    # The others may be open or hold.
    ([OPEN, *HOLD[1:], finding(READS, "CHANGED", "good", RATE)], "IMPROVED",
     "reads per edit: better, given the same kind of work"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "verdict", "reason"), CHANGES)
def test_changes(found: list[Finding], verdict: str, reason: str) -> None:
    assert conclude(found, ENOUGH) == (verdict, reason)


NO_CHANGES: list[tuple[list[Finding], str, str]] = [
    (HOLD, "HOLDING", "all 3 metrics stay within -20 % and +25 %"),
    ([*HOLD[:2], finding(CALLS, "NEGLIGIBLE")], "HOLDING", "all 3 metrics stay within -20 % and +25 %"),
    ([*HOLD, finding(OUTPUT, "NOT TESTABLE")], "HOLDING", "all 3 metrics stay within -20 % and +25 %"),
    ([*HOLD, OPEN], "INCONCLUSIVE", "nothing was found, and for 1 of 4 metrics there are too few sessions to tell"),
    ([OPEN], "INCONCLUSIVE", "nothing was found, and for 1 of 1 metrics there are too few sessions to tell"),
    (HOLD[:2], "INCONCLUSIVE", "only 2 metrics can be tested; it takes 3 to say that all stay what they were"),
    (HOLD[:1], "INCONCLUSIVE", "only one metric can be tested; it takes 3 to say that all stay what they were"),
    ([finding(OUTPUT, "NOT TESTABLE")], "INCONCLUSIVE",
     "no metric can be tested; it takes 3 to say that all stay what they were"),
    ([], "INCONCLUSIVE", "no metric can be tested; it takes 3 to say that all stay what they were"),
    # Neither rare events nor what is no headline decides.
    ([*HOLD, finding("loops", "CHANGED", "harmful"), finding("shell_reads", "CHANGED", "neutral")], "HOLDING",
     "all 3 metrics stay within -20 % and +25 %"),
    ([*HOLD[:2], finding("loops", "EQUIVALENT"), finding("shell_reads", "EQUIVALENT")], "INCONCLUSIVE",
     "only 2 metrics can be tested; it takes 3 to say that all stay what they were"),
    ([*HOLD, finding("loops", "UNRESOLVED"), finding("shell_reads", "UNRESOLVED")], "HOLDING",
     "all 3 metrics stay within -20 % and +25 %"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "verdict", "reason"), NO_CHANGES)
def test_without_changes(found: list[Finding], verdict: str, reason: str) -> None:
    assert conclude(found, ENOUGH) == (verdict, reason)
    assert "no change" not in reason


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_which_direction_is_harmful(metric: Any) -> None:
    expected = {
        "down": ("harmful", "good"), "up": ("good", "harmful"), "neutral": ("neutral", "neutral"),
        "down if the model is the same": ("harmful", "good"),
    }[metric.harm]  # fmt: skip
    assert (
        direction_of(metric, -0.5, is_same_model=True),
        direction_of(metric, 0.5, is_same_model=True),
    ) == expected
    if metric.harm == "down if the model is the same":
        expected = ("neutral", "neutral")
    assert (
        direction_of(metric, -0.5, is_same_model=False),
        direction_of(metric, 0.5, is_same_model=False),
    ) == expected


def test_directions_by_hand() -> None:
    assert direction_of(BY_NAME["reads_per_edit"], -1.0, is_same_model=False) == "harmful"
    assert direction_of(BY_NAME["errors"], -1.0, is_same_model=False) == "good"
    assert direction_of(BY_NAME["signature_length"], -1.0, is_same_model=True) == "harmful"
    assert direction_of(BY_NAME["signature_length"], -1.0, is_same_model=False) == "neutral"


def size(low: float, point: float, high: float) -> Size:
    """The 95 % interval; that of 90 % is a sixth narrower."""
    inner = (point - (point - low) * 5 / 6, point + (high - point) * 5 / 6)
    return Size(point, inner, (low, high))


SMALL, LARGE, WIDE = size(-0.1, 0.0, 0.1), size(-0.9, -0.7, -0.5), size(-0.5, -0.1, 0.3)


@pytest.mark.parametrize(("p", "searched", "halves", "state"), [
    (0.05, LARGE, [LARGE], "CHANGED"),
    (0.051, LARGE, [LARGE], "UNRESOLVED"),
    (0.001, size(-1.5, -0.7, 0.01), [], "UNRESOLVED"),
    (0.001, size(-0.3, -0.2, -0.1), [], "UNRESOLVED"),
    (0.001, size(-RELEVANT * 1.01, -RELEVANT, -0.1), [], "CHANGED"),
    (0.001, size(-0.15, -0.1, -0.05), [LARGE], "NEGLIGIBLE"),
    (0.2, None, [SMALL], "EQUIVALENT"),
    (0.2, None, [SMALL, SMALL], "EQUIVALENT"),
    (0.2, None, [SMALL, WIDE], "UNRESOLVED"),
    (0.2, None, [WIDE], "UNRESOLVED"),
    (0.2, None, [], "UNRESOLVED"),
    (0.001, None, [SMALL], "EQUIVALENT"),
])  # fmt: skip
def test_states(p: float, searched: Size | None, halves: list[Size], state: str) -> None:
    assert state_of(p=p, searched=searched, halves=halves) == state


def test_equivalence_is_by_the_90_percent_interval() -> None:
    bound = math.log(1.25)
    barely = Size(0.1, (0.0, bound - 1e-9), (-0.05, bound + 0.1))
    assert barely.is_within(bound)
    assert not replace(barely, interval90=(0.0, bound)).is_within(bound)
    assert not replace(barely, interval90=(-bound, 0.1)).is_within(bound)
    assert not barely.is_clear
    assert size(0.01, 0.1, 0.2).is_clear
    assert not size(0.0, 0.1, 0.2).is_clear


def test_what_is_of_the_rate() -> None:
    assert RATE.is_of_rate
    assert not WORK.is_of_rate
    assert not UNSURE.is_of_rate
    assert replace(RATE, composition=Part(-0.7, (-1, 0))).is_of_rate
    assert not replace(RATE, composition=None).is_of_rate
    assert not replace(RATE, rate=None).is_of_rate


def test_a_new_model_that_thinks_less_is_no_regression() -> None:
    made = replace(finding("thinking_per_call", "CHANGED"), size=LARGE)
    same = with_attribution(made, RATE, is_same_model=True)
    other = with_attribution(made, RATE, is_same_model=False)
    assert (same.direction, conclude([same], ENOUGH)[0]) == ("harmful", "REGRESSED")
    assert (other.direction, conclude([other], ENOUGH)[0]) == ("neutral", "CHANGED")
    assert same.attribution is RATE
