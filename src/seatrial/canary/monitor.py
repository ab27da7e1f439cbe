"""Something moved: a test that may be looked at after every session, for as long as one likes.

Each new session is ranked among the earlier ones of its project by what the null model leaves of it.  When nothing
changes, that rank is as likely to be one as another, whatever came before; bets on high and on low ranks then gain
nothing on average.  A bet that has grown A-fold since its best moment is an alarm.  Six bets on each of the K headline
metrics start from 1, and their mean counts, so that all metrics together give an alarm once in A sessions or more on
average when nothing changes (a CUSUM is never above the Shiryaev–Roberts sum, whose excess over the number of sessions
is a martingale; so is that of a mean).  Single metrics need up to K·A for it.

That holds for sessions that could have come in any order within their project.  Where days resemble the days before,
alarms come more often: about once in 400 when days that differ as much as sessions do correlate by 0.3, in 200 by 0.6.
A metric joins when it is first seen, which can only lower the mean.  After an alarm everything starts anew from there.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from seatrial import paths
from seatrial.canary import search
from seatrial.canary.features import Features
from seatrial.canary.history import History
from seatrial.canary.metrics import BY_NAME, METRICS
from seatrial.canary.search import Prepared
from seatrial.errors import StorageError

RUN_LENGTH = 400
BETS = (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75)
WATCHED = tuple(metric.name for metric in METRICS if metric.is_headline and metric.family != "rare")
FEWEST_EARLIER = 5
SETTLED_SECONDS = 3600.0
VERSION = 1


@dataclass(frozen=True, slots=True)
class Alarm:
    """A metric that moved.  Times are starts of sessions, in seconds since 1970."""

    agent: str
    metric: str
    direction: str
    """`up` or `down`."""
    meaning: str
    """`worse`, `better`, or nothing where neither can be said."""
    at: float
    since: float
    """Of the session from which on the evidence grew."""
    sessions: int
    """From there to the alarm."""
    evidence: float
    """The mean of the bets; an alarm comes at `run_length`."""
    run_length: int

    @property
    def line(self) -> str:
        """One line for people."""
        meaning = f" ({self.meaning})" if self.meaning else ""
        return (
            f"{self.agent}: {BY_NAME[self.metric].title} went {self.direction}{meaning} since about {_day(self.since)},"
            f" noticed {_day(self.at)} after {self.sessions} sessions"
            f" (if nothing changes, there is such a line once in {self.run_length} sessions or more)"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything as values of JSON."""
        return {**asdict(self), "line": self.line}


@dataclass(slots=True)
class State:
    """What is remembered between two looks: sessions in the order in which they counted, and the bets."""

    seen: list[str] = field(default_factory=list)
    first: int = 0
    """Place in `seen` of the first session that later ones are ranked among."""
    levels: dict[str, list[float]] = field(default_factory=dict)
    began: dict[str, list[int]] = field(default_factory=dict)
    """Place in `seen` from which on a bet has grown."""
    alarms: int = 0

    def bet(self, metric: str, rank: float) -> None:
        """Settle the bets on a metric by a rank between 0 and 1."""
        levels = self.levels.setdefault(metric, [0.0] * len(BETS))
        began = self.began.setdefault(metric, [0] * len(BETS))
        for place, share in enumerate(BETS):
            if levels[place] <= 1.0:
                began[place] = len(self.seen) - 1
            levels[place] = max(levels[place], 1.0) * (1.0 + share * (2.0 * rank - 1.0))

    @property
    def evidence(self) -> float:
        """The mean of all bets on the metrics that were seen."""
        return sum(map(sum, self.levels.values())) / (max(1, len(self.levels)) * len(BETS))

    def restart(self) -> None:
        """Forget the bets, and the sessions that were ranked among."""
        self.levels, self.began, self.first = {}, {}, len(self.seen)
        self.alarms += 1


def watch_once(history: History, *, now: float | None = None, run_length: int = RUN_LENGTH) -> list[Alarm]:
    """Count the sessions that are new, and return the alarms that they give; each session counts once.

    Every agent is watched apart.  A session that was going on within the last hour waits for the next time.  Raises
    StoreError when the history is damaged, StorageError when what is remembered cannot be read or written.
    """
    now = time.time() if now is None else now
    file = history.path.with_suffix(".monitor.json")
    with paths.locked(history.path.with_suffix(".monitor.lock")):
        states = _read(file)
        by_agent: dict[str, list[Features]] = {}
        for session in history.sessions():
            if not session.excluded and session.end <= now - SETTLED_SECONDS:
                by_agent.setdefault(session.agent, []).append(session)
        alarms = []
        for agent, sessions in sorted(by_agent.items()):
            alarms += advance(states.setdefault(agent, State()), sessions, run_length)
        content = {"version": VERSION, "agents": {agent: asdict(state) for agent, state in states.items()}}
        with paths.atomic_write(file) as stream:
            stream.write(orjson.dumps(content))
    return alarms


def advance(state: State, sessions: Sequence[Features], run_length: int = RUN_LENGTH) -> list[Alarm]:
    """Count the sessions of one agent that are not in `state` yet, in the order of their start; return alarms."""
    counted = set(state.seen)
    if all(_key(session) in counted for session in sessions):
        return []
    prepared = search.prepare(sessions)
    keys = [_key(session) for session in prepared.table.sessions]
    rows = {key: row for row, key in enumerate(keys)}
    ranks = _Ranks(prepared)
    for key in state.seen[state.first :]:
        if key in rows:
            ranks.add(rows[key])
    alarms = []
    for row, key in enumerate(keys):
        if key in counted:
            continue
        state.seen.append(key)
        for metric in WATCHED:
            rank = ranks.of(metric, row)
            if rank is not None:
                state.bet(metric, rank)
        ranks.add(row)
        if state.evidence >= run_length:
            starts = {keys[other]: prepared.table.sessions[other].start for other in range(row + 1)}
            alarms.append(_alarm(state, prepared.table.sessions[row], run_length, starts.get))
            state.restart()
            ranks = _Ranks(prepared)
    return alarms


class _Ranks:
    """The residuals of the sessions so far, sorted, by metric and stratum."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self._columns = {name: prepared.table.column(name) for name in WATCHED}
        self._sorted: dict[tuple[str, int], list[float]] = {}

    def _value(self, metric: str, row: int) -> float | None:
        column = self._columns[metric]
        return float(self.prepared.scores[row, column]) if self.prepared.residuals.known[row, column] else None

    def add(self, row: int) -> None:
        stratum = int(self.prepared.table.strata[row])
        for metric in WATCHED:
            value = self._value(metric, row)
            if value is not None:
                insort(self._sorted.setdefault((metric, stratum), []), value)

    def of(self, metric: str, row: int) -> float | None:
        """Return the randomised rank of a session among the earlier ones, None when there are too few."""
        earlier = self._sorted.get((metric, int(self.prepared.table.strata[row])), [])
        value = self._value(metric, row)
        if value is None or len(earlier) < FEWEST_EARLIER:
            return None
        below, up_to = bisect_left(earlier, value), bisect_right(earlier, value)
        chance = _chance(self.prepared.table.sessions[row], metric)
        return (below + chance * (up_to - below + 1)) / (len(earlier) + 1)


def _alarm(state: State, session: Features, run_length: int, start_of: Callable[[str], float | None]) -> Alarm:
    name, place = max(
        ((metric, place) for metric, levels in state.levels.items() for place in range(len(levels))),
        key=lambda entry: state.levels[entry[0]][entry[1]],
    )
    began = state.began[name][place]
    return Alarm(
        agent=session.agent,
        metric=name,
        direction="up" if BETS[place] > 0 else "down",
        meaning=_meaning(name, "up" if BETS[place] > 0 else "down"),
        at=session.start,
        since=start_of(state.seen[began]) or session.start,
        sessions=len(state.seen) - began,
        evidence=state.evidence,
        run_length=run_length,
    )


def _meaning(metric: str, direction: str) -> str:
    harm = BY_NAME[metric].harm
    if harm not in ("up", "down"):
        return ""
    return "worse" if direction == harm else "better"


def _chance(session: Features, metric: str) -> float:
    """Return a number between 0 and 1 that is the same each time: ties are broken by chance, but only once."""
    given = "\0".join((session.agent, session.place, session.session, metric)).encode(errors="backslashreplace")
    return int.from_bytes(blake2b(given, digest_size=7).digest()) / 2**56


def _key(session: Features) -> str:
    given = "\0".join((session.place, session.session)).encode(errors="backslashreplace")
    return blake2b(given, digest_size=8).hexdigest()


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _read(file: Path) -> dict[str, State]:
    try:
        given = orjson.loads(file.read_bytes())
        if given["version"] != VERSION:
            raise ValueError(f"its version is {given['version']!r}")
        states = {agent: State(**state) for agent, state in given["agents"].items()}
        for state in states.values():
            # Of the wrong types, they raise here.
            _ = state.evidence + len(state.seen[state.first :]) + state.alarms
    except FileNotFoundError:
        return {}
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as problem:
        raise StorageError(
            f"{file} cannot be read: {problem}.", hint="Move it away: watching then starts anew.", path=file
        ) from problem
    return states
