"""Where a history can be cut in two: at a date, or between sessions with and without a label's value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from seatrial.canary.features import MIXED
from seatrial.canary.scan import DAYS_A_SIDE, SESSIONS_A_SIDE
from seatrial.canary.table import Flags, Floats, Table, stratum_means

LABELS = ("model", "version", "effort")
OPTIONS = (*LABELS, "permission")
_MOST = 12


@dataclass(frozen=True)
class Boundary:
    """`rows` [s] are the sessions that are compared, `after` [s] those on the later side.

    A date's has an empty `label`; else `value` of `label` first came on `day` (days since year 1), and sessions that
    carry it are compared with the others, whatever their date: two versions in use side by side are told apart.
    """

    day: int
    rows: Flags
    after: Flags
    label: str = ""
    value: str = ""

    @property
    def counts(self) -> tuple[int, int]:
        """Return the number of sessions on both sides."""
        return int((self.rows & ~self.after).sum()), int((self.rows & self.after).sum())


def at_date(table: Table, day: int) -> Boundary:
    """Return the boundary before `day`."""
    return Boundary(day, np.ones(table.size, dtype=np.bool_), table.days >= day)


def of_labels(table: Table) -> list[Boundary]:
    """Return a boundary for each value of a label that ten sessions carry and ten others in their projects do not."""
    found = []
    for label in OPTIONS:
        labels = np.array(table.labels(label))
        pure = (labels != "") & (labels != MIXED)
        for value, _ in Counter(labels[pure].tolist()).most_common(_MOST):
            carries = labels == value
            share = stratum_means(carries.astype(np.float64), table.strata, pure)
            rows = pure & (share > 0) & (share < 1)
            made = Boundary(int(table.days[carries].min()), rows, rows & carries, label, value)
            if min(made.counts) >= SESSIONS_A_SIDE:
                found.append(made)
    return found


def is_new(table: Table, boundary: Boundary) -> bool:
    """Whether a label's value came within the history, after ten sessions and five active days without it."""
    before = table.days < boundary.day
    return (
        boundary.label in LABELS
        and int(before.sum()) >= SESSIONS_A_SIDE
        and len(np.unique(table.days[before])) >= DAYS_A_SIDE
    )


def contrasts(table: Table, boundaries: list[Boundary]) -> Floats:
    """Return z [c, s]: 1 on the later side, centred within strata over the compared sessions, 0 outside them."""
    made = np.zeros((len(boundaries), table.size))
    for place, boundary in enumerate(boundaries):
        side = boundary.after.astype(np.float64)
        made[place] = np.where(boundary.rows, side - stratum_means(side, table.strata, boundary.rows), 0.0)
    return made
