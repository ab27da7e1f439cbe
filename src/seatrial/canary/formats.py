"""Changes of the log's format: a field that appears or disappears must not look like a change of the agent.

Whether a session's log has a field depends on chance as well (no thinking, no field for it), so that what counts is
what most sessions around it have.  A metric's residuals are centred on each side of such a switch, so that the switch
itself is no evidence, while any other change still is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seatrial.canary.table import Flags, Floats, Integers, Table, stratum_means

_WINDOW = 11
_ON, _OFF = 0.9, 0.1
_FEWEST = 5
_FEWEST_CALLS, _FEWEST_MESSAGES = 5, 3


@dataclass(frozen=True)
class Switch:
    """A field that came or went in somebody's logs: `day` is the first (days since year 1) with the other state."""

    field: str
    day: int
    appears: bool
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Formats:
    """`states` [s, k] number the format that each session has of each metric; all 0 when nothing switched."""

    states: Integers
    switches: tuple[Switch, ...]

    def differs(self, column: int, after: Flags) -> bool:
        """Whether the format of a metric on one side of a boundary (`after` [s]) is not that of the other."""
        state = self.states[:, column]
        if not state.any() or after.all() or not after.any():
            return False
        return bool(abs((state[after] > 0).mean() - (state[~after] > 0).mean()) >= 0.5)


def find(table: Table) -> Formats:
    """Return the formats of every metric's fields."""
    states = np.zeros((table.size, len(table.metrics)), dtype=np.int64)
    switches = []
    for name in sorted({name for metric in table.metrics for name in metric.fields}):
        lacks = _lacking(table, name)
        if lacks is None:
            continue
        columns = [index for index, metric in enumerate(table.metrics) if name in metric.fields]
        states[:, columns] = 2 * states[:, columns] + lacks[:, None]
        row = _first_switch(table, lacks)
        if row is not None:
            names = tuple(table.metrics[index].name for index in columns if table.metrics[index].is_headline)
            switches.append(Switch(name, int(table.days[row]), not lacks[row], names))
    return Formats(states, tuple(switches))


def _lacking(table: Table, name: str) -> Integers | None:
    """Return 1 for each session [s] in whose time and place logs lack a field; None unless there are both kinds."""
    has = np.array([name in session.fields for session in table.sessions], dtype=np.float64)
    could = np.array(
        [session.calls >= _FEWEST_CALLS and session.messages >= _FEWEST_MESSAGES for session in table.sessions]
    )
    if not could.any() or has[could].mean() in (0.0, 1.0):
        return None
    lacks = np.zeros(table.size, dtype=np.int64)
    places = [session.place for session in table.sessions]
    for place in set(places):
        rows = np.flatnonzero(np.array([entry == place for entry in places]))
        known = rows[could[rows]]
        if len(known):
            lacks[rows] = _majority(has[known], np.searchsorted(known, rows)) < 0.5
    off, on = could & (lacks == 1), could & (lacks == 0)
    if min(off.sum(), on.sum()) < _FEWEST or has[on].mean() < _ON or has[off].mean() > _OFF:
        return None
    return lacks


def _first_switch(table: Table, lacks: Integers) -> int | None:
    """Return the first session whose place's logs were different before; None when only places differ."""
    last: dict[str, int] = {}
    for row, session in enumerate(table.sessions):
        if last.setdefault(session.place, int(lacks[row])) != lacks[row]:
            return row
    return None


def _majority(values: Floats, at: Integers) -> Floats:
    """Return the mean of the `_WINDOW` values nearest to each place of `at`."""
    summed = np.concatenate([[0.0], np.cumsum(values)])
    width = min(_WINDOW, len(values))
    low = np.clip(at - width // 2, 0, len(values) - width)
    found: Floats = (summed[low + width] - summed[low]) / width
    return found


def centred(scores: Floats, known: Floats, strata: Integers, states: Integers, columns: Sequence[int]) -> Floats:
    """Return residuals [s, k] with mean 0 in each stratum and format, over the sessions that `known` [s, k] names."""
    found = scores.copy()
    for column in columns:
        state = states[:, column]
        if not state.any():
            continue
        groups = np.unique(np.column_stack([strata, state]), axis=0, return_inverse=True)[1].ravel()
        mask = known[:, column] > 0
        found[:, column] = np.where(mask, scores[:, column] - stratum_means(scores[:, column], groups, mask), 0.0)
    return found
