"""Is one version, model or effort different from the others?  A family of tests of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from seatrial.canary.boundary import Boundary
from seatrial.canary.effect import Size, size_at
from seatrial.canary.null import Residuals
from seatrial.canary.rare import false_discoveries
from seatrial.canary.scan import permutations
from seatrial.canary.table import Floats, Table, stratum_means

_Q = 0.05


@dataclass(frozen=True)
class Named:
    """One metric of the sessions that carry a label's value, against those that carry another.

    `sessions` are those with and without; `q` is the p-value adjusted for the false discovery rate over all of them.
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


def compare(
    table: Table,
    residuals: Residuals,
    scores: Floats,
    columns: list[int],
    boundaries: list[Boundary],
    draws: Floats,
    count: int,
    random: np.random.Generator,
) -> list[Named]:
    """Test every boundary and metric by `count` permutations within strata; `scores` [s, k], `draws` [b, s]."""
    tests = []
    for boundary in boundaries:
        rows = boundary.rows
        strata = table.strata[rows]
        inner = scores[rows][:, columns]
        inner = inner - stratum_means(inner, strata)
        side = boundary.after[rows].astype(np.float64)
        side = side - stratum_means(side, strata)
        seen = np.abs(side @ inner)
        above = np.zeros(len(columns))
        for order in permutations(table.days[rows], strata, count, random, 0):
            above += np.abs(side @ inner[order]) >= seen - 1e-9
        first = date.fromordinal(boundary.day)
        without, with_it = boundary.counts
        for place, column in enumerate(columns):
            size = size_at(table, residuals, column, boundary.after, draws, rows)
            p = float((above[place] + 1) / (count + 1))
            name = table.metrics[column].name
            tests.append((boundary.label, boundary.value, first, (with_it, without), name, size, p))
    adjusted = false_discoveries([test[-1] for test in tests])
    return [Named(*test, q) for test, q in zip(tests, adjusted, strict=True)]
