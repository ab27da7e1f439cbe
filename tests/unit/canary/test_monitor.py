"""The monitor: how often it cries wolf, how soon it notices, and that it says a thing once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from seatrial.canary.features import Features
from seatrial.canary.history import History
from seatrial.canary.monitor import RUN_LENGTH, State, advance, watch_once
from seatrial.errors import StorageError
from tests.unit.canary.histories import DAY, MONDAY, history

LATER = MONDAY + 5000 * DAY


def put(kept: History, sessions: Sequence[Features]) -> None:
    with kept.transaction() as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO sessions(agent, session, project, start, features, content, events, output, began,"
            " mtime_ns, path, first_seen, last_seen, wordings) VALUES (?, ?, ?, ?, ?, x'', 1, 1, ?, 0, '', 0, 0, 1)",
            [(s.agent, s.session, s.project, s.start, orjson.dumps(s.as_dict()).decode(), s.start) for s in sessions],
        )


def run_lengths(wanted: int, run_length: int, seed: int, metrics: int) -> list[int]:
    """Return how long bets on uniform ranks go on until an alarm."""
    random, found = np.random.default_rng(seed), []
    for _ in range(wanted):
        state, steps = State(), 0
        while state.evidence < run_length:
            steps += 1
            state.seen.append("")
            for metric in range(metrics):
                state.bet(f"m{metric}", float(random.random()))
        found.append(steps)
    return found


@pytest.mark.parametrize("metrics", [1, 4])
def test_the_run_length_without_a_change_is_at_least_what_is_said(metrics: int) -> None:
    found = np.array(run_lengths(60, 10, 7, metrics))
    error = found.std() / np.sqrt(len(found))
    assert found.mean() >= 10 - 2 * error
    # And not so long that it could say nothing of a wrong bet.
    assert found.mean() < 40 * 10


@pytest.mark.parametrize(("run_length", "fewest"), [(RUN_LENGTH, 0), (8, 1)])
def test_histories_without_a_change(run_length: int, fewest: int) -> None:
    histories = [history(1000, seed) for seed in range(8)]
    alarms = sum(len(advance(State(), sessions, run_length)) for sessions in histories)
    expected = sum(map(len, histories)) / run_length
    assert fewest <= alarms <= expected + 2 * np.sqrt(expected)


@pytest.mark.parametrize(("change", "direction", "meaning"), [(1 / 3, "down", "worse"), (3.0, "up", "better")])
def test_a_threefold_change_is_noticed_and_dated(change: float, direction: str, meaning: str) -> None:
    noticed = 0
    for seed in range(20):
        alarms = advance(State(), history(220, seed, change=change, at=120))
        noticed += bool(alarms)
        for alarm in alarms:
            assert (alarm.metric, alarm.direction, alarm.meaning) == ("reads_per_edit", direction, meaning)
            assert alarm.at >= MONDAY + 40 * DAY
            assert alarm.since <= alarm.at and alarm.sessions <= 220
            assert "\n" not in alarm.line and "reads per edit went" in alarm.line and "400 sessions" in alarm.line
    assert noticed >= 18


def test_after_an_alarm_the_new_level_is_the_usual() -> None:
    state = State()
    assert len(advance(state, history(600, 3, change=4.0, at=100))) == 1
    assert state.first > 100 and state.alarms == 1


def test_the_same_is_found_in_pieces_and_said_once() -> None:
    sessions = history(240, 1, change=1 / 4, at=120)
    state, found = State(), []
    for end in range(20, 241, 20):
        found += advance(state, sessions[:end])
        assert advance(state, sessions[:end]) == []
    assert [alarm.metric for alarm in found] == ["reads_per_edit"]
    whole = advance(State(), sessions)
    assert abs(found[0].at - whole[0].at) < 15 * DAY
    assert len(state.seen) == len(set(state.seen)) == 240


def test_it_is_remembered_beside_the_history(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.db") as kept:
        assert watch_once(kept) == []
        put(kept, history(120, 2))
        assert watch_once(kept, now=LATER) == []
        put(kept, history(240, 2, change=1 / 4, at=120))
        [alarm] = watch_once(kept, now=LATER)
        assert alarm.as_dict()["line"] == alarm.line
        assert watch_once(kept, now=LATER) == []
    with History.open(tmp_path / "h.db") as kept:
        assert watch_once(kept, now=LATER) == []
        remembered = orjson.loads((tmp_path / "h.monitor.json").read_bytes())
        assert len(remembered["agents"]["claude_code"]["seen"]) == 240
        # Of the sessions, only hashes.
        assert "project-" not in (tmp_path / "h.monitor.json").read_text()


def test_a_session_that_goes_on_and_one_that_comes_late(tmp_path: Path) -> None:
    sessions = history(90, 4)
    now = sessions[-1].end + 600
    with History.open(tmp_path / "h.db") as kept:
        put(kept, [session for session in sessions if session is not sessions[10]])

        def seen() -> int:
            watch_once(kept, now=now)
            return len(orjson.loads((tmp_path / "h.monitor.json").read_bytes())["agents"]["claude_code"]["seen"])

        assert seen() == 88
        put(kept, sessions)
        assert seen() == 89
        now += 3600
        assert seen() == 90


def test_agents_are_watched_apart(tmp_path: Path) -> None:
    first = history(120, 5)
    second = [replace(s, agent="codex", start=s.start + 60 * DAY) for s in history(120, 6, change=5.0, at=0)]
    with History.open(tmp_path / "h.db") as kept:
        put(kept, [*first, *second])
        assert watch_once(kept, now=LATER) == []
    mixed = advance(State(), [*first, *(replace(s, agent="claude_code", session=f"b{s.session}") for s in second)])
    assert [alarm.metric for alarm in mixed] == ["reads_per_edit"]


def test_sessions_that_are_not_judged_do_not_count(tmp_path: Path) -> None:
    sessions = [replace(session, excluded="scripted") for session in history(200, 1, change=5.0, at=100)]
    with History.open(tmp_path / "h.db") as kept:
        put(kept, sessions)
        assert watch_once(kept, now=LATER) == []
    assert advance(State(), []) == []


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"version":9,"agents":{}}', b'{"version":1,"agents":{"a":{"seen":3}}}']
)
def test_a_damaged_memory_is_said(tmp_path: Path, content: bytes) -> None:
    with History.open(tmp_path / "h.db") as kept:
        put(kept, history(3))
        (tmp_path / "h.monitor.json").write_bytes(content)
        with pytest.raises(StorageError, match=r"h\.monitor\.json cannot be read"):
            watch_once(kept, now=LATER)
