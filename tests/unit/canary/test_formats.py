"""A change of the log's format is no change of the agent, and chance is no change of the format."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.canary_worlds import NUISANCES, format_change
from seatrial.canary import formats, null, scan, search
from seatrial.canary.features import Features
from seatrial.canary.judge import Effort, judge
from seatrial.canary.table import build

from .histories import full_history, logged

EFFORT = Effort(permutations=199, draws=100, placebos=0)
CHANGES = ("REGRESSED", "IMPROVED", "CHANGED")


def without(session: Features, *names: str) -> Features:
    return replace(session, fields=tuple(name for name in session.fields if name not in names))


def switched(sessions: list[Features]) -> tuple[formats.Switch, ...]:
    return formats.find(build(sessions)).switches


@pytest.mark.parametrize("appears", [False, True])
def test_a_field_that_goes_or_comes_is_dated(appears: bool) -> None:
    sessions = logged(full_history(90, 1))
    made = [without(one, "thinking") if (number >= 40) != appears else one for number, one in enumerate(sessions)]
    table = build(made)
    found = formats.find(table)
    assert found.switches == (formats.Switch("thinking", int(table.days[40]), appears, ("thinking_per_call",)),)
    states = found.states
    column = table.column("thinking_per_call")
    assert (states[:40, column] == int(appears)).all()
    assert (states[40:, column] == int(not appears)).all()
    assert not np.delete(states, column, axis=1).any()
    after = np.arange(90) >= 45
    assert found.differs(column, after)
    assert not found.differs(table.column("errors"), after)


def test_numbers_that_fall_to_nothing_with_their_field_are_no_change() -> None:
    sessions = logged(full_history(120, 2))
    format_change(sessions, np.random.default_rng(0))
    # The numbers alone are overwhelming evidence.
    table = build(sessions)
    column = table.column("errors")
    raw = null.fit(table, [column]).scores[:, [column]]
    found = scan.candidates(table.days, table.strata)
    assert np.abs(scan.statistics(raw, table.strata, found)).max() > 6
    prepared = search.prepare(sessions)
    assert np.abs(scan.statistics(prepared.scores[:, [column]], table.strata, found)).max() < 4
    judged = judge(sessions, EFFORT)
    assert judged.verdict not in CHANGES
    errors = next(entry for entry in judged.findings if entry.metric.name == "errors")
    assert (errors.state, errors.why) == ("NOT TESTABLE", "the log's format changed (is_error)")
    assert errors.before > 0 and errors.after == 0
    assert [entry.field for entry in judged.by_format] == ["is_error"]


@pytest.mark.parametrize("seed", range(3))
def test_tools_that_are_renamed_are_no_change(seed: int) -> None:
    random = np.random.default_rng(seed)
    sessions = logged(full_history(120, seed))
    NUISANCES["tools renamed"](sessions, random)
    judged = judge(sessions, EFFORT)
    assert judged.verdict not in CHANGES
    assert [entry.field for entry in judged.by_format] == ["known_tools"]


def test_a_change_beside_a_switch_is_still_found() -> None:
    sessions = logged(full_history(160, 3, change=0.4))
    made = [without(one, "is_error") if number < 80 else one for number, one in enumerate(sessions)]
    judged = judge(made, EFFORT)
    assert judged.verdict == "REGRESSED"
    assert [entry.field for entry in judged.by_format] == ["is_error"]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_what_is_lacking_by_chance_is_no_switch(share: float) -> None:
    for seed in range(10):
        random = np.random.default_rng(seed)
        sessions = logged(full_history(90, seed))
        made = [without(one, "thinking", "signature") if random.random() < share else one for one in sessions]
        assert switched(made) == ()


def test_short_sessions_lack_fields_by_chance() -> None:
    sessions = logged(full_history(60, 4))
    made = [replace(without(one, "is_error"), calls=4) if n >= 30 else one for n, one in enumerate(sessions)]
    assert switched(made) == ()
    assert len(switched([replace(one, calls=5) for one in made])) == 1
    few = [without(one, "is_error") if n >= 57 else one for n, one in enumerate(sessions)]
    assert switched(few) == ()


def test_nobody_has_or_everybody_has_it() -> None:
    sessions = logged(full_history(30, 5))
    assert switched(sessions) == ()
    assert switched([without(one, "cache") for one in sessions]) == ()
    assert switched([]) == ()


def two_places(first: int, second: int) -> list[Features]:
    """Sessions by turns of two people; a field goes from the logs of each from some session on."""
    made = []
    for number, one in enumerate(logged(full_history(120, 6))):
        is_first = number % 2 == 0
        place = "ann" if is_first else "bob"
        lacks = number >= (first if is_first else second)
        made.append(replace(without(one, "is_error") if lacks else one, place=place))
    return made


def test_two_people_with_other_logs_are_no_switch() -> None:
    assert switched(two_places(120, 0)) == ()


def test_logs_of_two_people_that_do_not_compare_are_said() -> None:
    sessions = two_places(120, 0)
    for number, one in enumerate(sessions):
        # Now mostly ann, then mostly bob.
        one.place = "ann" if (number % 10 < 9) == (number < 60) else "bob"
        one.fields = (
            tuple(name for name in one.fields if name != "is_error")
            if one.place == "bob"
            else (*one.fields, "is_error")
        )
    errors = next(entry for entry in judge(sessions, EFFORT).findings if entry.metric.name == "errors")
    assert (errors.state, errors.why) == ("NOT TESTABLE", "logs of different formats (is_error)")


@pytest.mark.parametrize(("first", "second", "at"), [(60, 0, 60), (0, 61, 61), (120, 51, 51), (80, 41, 41)])
def test_a_switch_is_dated_by_the_one_in_whose_logs_it_is(first: int, second: int, at: int) -> None:
    sessions = two_places(first, second)
    found = switched(sessions)
    assert [(one.field, one.appears) for one in found] == [("is_error", False)]
    assert abs(found[0].day - int(build(sessions).days[at])) <= 1
