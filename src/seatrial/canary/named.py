"""Is one version, model or effort different from the others?  A family of its own, apart from the search for dates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date

import numpy as np

from seatrial.canary.effect import Size, size_at
from seatrial.canary.features import MIXED
from seatrial.canary.null import Residuals
from seatrial.canary.rare import false_discoveries
from seatrial.canary.scan import permutations
from seatrial.canary.table import Flags, Floats, Table, stratum_means

_LABELS = ("model", "version", "effort", "permission")
_MOST = 12
_FEWEST = 10
_Q = 0.05


@dataclass(frozen=True)
class Named:
    """One metric of the sessions that carry a label's value, against those that carry another.

    `q` is the p-value adjusted for the false discovery rate over all labels and metrics.
    """

    label: str
    value: str
    first_day: date
    sessions: tuple[int, int]
    metric: str
    size: Size
    p: float
    q: float

    @property
    def is_different(self) -> bool:
        """Whether this counts as a difference."""
        return self.q <= _Q


def boundaries(table: Table) -> list[tuple[str, str, Flags, Flags]]:
    """Return label, value, the sessions [s] to compare and those among them that carry the value.

    The values with the most sessions; each needs ten with it and ten with another in projects that have both.
    """
    found = []
    for label in _LABELS:
        labels = np.array(table.labels(label))
        pure = (labels != "") & (labels != MIXED)
        for value, _ in Counter(labels[pure].tolist()).most_common(_MOST):
            carries = labels == value
            both = stratum_means(carries.astype(np.float64), table.strata, pure)
            rows = pure & (both > 0) & (both < 1)
            if min((rows & carries).sum(), (rows & ~carries).sum()) >= _FEWEST:
                found.append((label, value, rows, carries))
    return found


def compare(
    table: Table,
    residuals: Residuals,
    scores: Floats,
    columns: list[int],
    draws: Floats,
    count: int,
    random: np.random.Generator,
) -> list[Named]:
    """Test every boundary and metric by `count` permutations within strata; `scores` [s, k], `draws` [b, s]."""
    tests = []
    for label, value, rows, carries in boundaries(table):
        part = table.select(rows)
        inner = scores[rows] - stratum_means(scores[rows], part.strata)
        side = carries[rows].astype(np.float64)
        side = side - stratum_means(side, part.strata)
        seen = np.abs(side @ inner)
        orders = permutations(part.days, part.strata, count, random, 0)
        above = sum((np.abs(side @ inner[order]) >= seen - 1e-9).astype(np.int64) for order in orders)
        first = date.fromordinal(int(table.days[carries].min()))
        for column in columns:
            # The sessions that are not compared carry no weight, and neither side.
            size = size_at(table, residuals, column, carries, draws * rows[None, :], rows.astype(np.float64))
            counts = (int((rows & carries).sum()), int((rows & ~carries).sum()))
            p = float((above[column] + 1) / (count + 1))
            tests.append((label, value, first, counts, table.metrics[column].name, size, p))
    adjusted = false_discoveries([test[-1] for test in tests])
    return [Named(*test, q) for test, q in zip(tests, adjusted, strict=True)]
