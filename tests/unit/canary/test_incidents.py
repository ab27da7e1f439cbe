"""Known incidents: seen where their signature is, within their dates and models, and not otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

import numpy as np
import pytest

from seatrial.canary import extraction, incidents, search
from seatrial.canary.events import ApiMessage, Event, Prompt, Session, Usage
from seatrial.canary.features import Features
from seatrial.canary.metrics import BY_NAME

DAY = 86400.0
CACHE = "thinking dropped from the cache after an idle hour"
BEGIN = datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp()
Share = Callable[[float], float]
"""Share of the input that the cache does not give, at a time."""


def is_within(at: float) -> bool:
    return date(2026, 3, 26) <= datetime.fromtimestamp(at, UTC).date() < date(2026, 4, 10)


def sessions_of(
    idle: Share, otherwise: Share, *, model: str = "claude-opus-4-6", days: int = 60, project: Share = lambda _: 0.0
) -> list[Features]:
    """One session a day: three answers, two idle hours, three answers."""
    random = np.random.default_rng(1)
    made = []
    for number in range(days):
        at = BEGIN + number * DAY
        events: list[Event] = []
        for after_idle in (False, True):
            start = at + 7200.0 * after_idle
            events.append(Prompt(start, "add a parser"))
            for place in range(3):
                share = (idle if after_idle else otherwise)(start)
                missed = round(10_000 * share * float(random.uniform(0.8, 1.2)))
                usage = Usage(input=missed, output=100, cache_read=10_000 - missed)
                key, when = f"{number}-{after_idle}-{place}", start + 60.0 * (place + 1)
                events.append(ApiMessage(key, when, model, "2.1.90", usage=usage))
        cwd = f"/home/ann/project-{project(at):.0f}"
        session = Session("claude_code", f"{number:03d}", events, cwd=cwd, fields=frozenset({"cache"}))
        made.append(extraction.of_session(session))
    return made


def outcome(sessions: Sequence[Features], name: str = CACHE) -> incidents.Tested | None:
    found = incidents.test(search.prepare(sessions))
    return next((entry for entry in found if entry.incident.name == name), None)


def steady(_at: float) -> float:
    return 0.05


def risen(at: float) -> float:
    return 0.6 if is_within(at) else 0.05


def test_the_cache_that_was_lost_after_idle_hours_only_is_seen() -> None:
    found = outcome(sessions_of(risen, steady))
    assert found is not None
    assert (found.inside, found.outside) == (15, 45)
    assert found.is_seen
    assert found.p is not None and found.p <= 0.001
    # From a twentieth to three fifths, but for half a thousand tokens that is added.
    assert found.log_ratio == pytest.approx(np.log(12), abs=0.5)


@pytest.mark.parametrize(("idle", "otherwise"), [
    (steady, steady),
    (risen, risen),
    (steady, risen),
    (lambda at: 0.65 - risen(at), steady),
    (lambda at: 0.6, steady),
], ids=["steady", "everywhere", "only without idle hours", "better inside", "before and after too"])  # fmt: skip
def test_anything_else_is_not_that_incident(idle: Share, otherwise: Share) -> None:
    found = outcome(sessions_of(idle, otherwise))
    assert found is not None
    assert found.p is not None
    assert not found.is_seen


def test_other_models_and_other_agents_are_not_touched() -> None:
    assert outcome(sessions_of(risen, steady, model="claude-haiku-4-5")) is None
    assert outcome(sessions_of(risen, steady, model="claude-sonnet-4-6-20260301")) is not None
    others = sessions_of(risen, steady)
    for one in others:
        one.agent = "codex"
    assert outcome(others) is None


def test_sessions_after_its_dates_do_not_have_it() -> None:
    assert outcome(sessions_of(risen, steady, days=25)) is None


@pytest.mark.parametrize(("days", "inside", "outside"), [(34, 9, 25), (26, 1, 25)])
def test_few_sessions_say_that_they_are_few(days: int, inside: int, outside: int) -> None:
    found = outcome(sessions_of(risen, steady, days=days))
    assert found is not None
    assert (found.inside, found.outside, found.p, found.is_seen) == (inside, outside, None, False)
    assert found.why == f"{inside} sessions inside and {outside} outside; 10 are needed"


def test_a_project_of_its_own_says_nothing() -> None:
    found = outcome(sessions_of(risen, steady, project=lambda at: float(is_within(at))))
    assert found is not None
    assert (found.p, found.why) == (None, "no project has sessions both inside and outside")


def test_an_incident_without_a_signature_says_so() -> None:
    moved = sessions_of(steady, steady, model="claude-sonnet-4-20250514")
    for one in moved:
        one.start -= 200 * DAY
    found = outcome(moved, "context window misrouting (Sonnet 4)")
    assert found is not None
    assert (found.p, found.why, found.is_seen) == (None, "it has no signature in logs", False)


def test_nothing_was_touched_in_nothing() -> None:
    assert incidents.test(search.prepare([])) == []


@pytest.mark.parametrize("incident", incidents.known(), ids=lambda incident: incident.name)
def test_every_known_incident_can_be_tested_or_says_why_not(incident: incidents.Incident) -> None:
    assert incident.start < incident.end
    assert incident.source
    for name in filter(None, (incident.metric, incident.against)):
        assert name in BY_NAME
    assert (incident.direction in ("up", "down")) == bool(incident.metric)
