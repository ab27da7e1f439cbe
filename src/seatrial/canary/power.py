"""What this history could show: the smallest change that would be found, and how many more sessions it would take.

The spread is the user's own, and so is the critical value, which comes from the
permutations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seatrial.canary.null import Residuals
from seatrial.canary.scan import Candidates, deviations
from seatrial.canary.table import Table

_FOR_POWER = 0.8416
"""Standard normal quantile of a power of 80 %."""
_ONE_SIDED, _PLANNED = 1.645, 1.96
_BOTH_SIDES = 1.282


@dataclass(frozen=True)
class Power:
    """What one metric can show.

    `sigma` is the standard deviation of a session's log metric within its stratum; `drop` the smallest drop (a share)
    that is found 8 times in 10 when the date is searched for; `more_for_30` and `more_to_hold` the sessions that are
    missing on each side to show a drop of 30 %, and to show that nothing relevant has changed.
    """

    sigma: float
    drop: float
    more_for_30: int
    more_to_hold: int


def smallest_drop(sigma: float, before: float, after: float, critical: float) -> float:
    """Return the drop that is found with a power of 80 %."""
    return float(1 - np.exp(-(critical + _FOR_POWER) * sigma * np.sqrt(1 / before + 1 / after)))


def sessions_a_side(sigma: float, drop: float, critical: float = _PLANNED) -> int:
    """Return the sessions on each side that show a `drop` with a power of 80 %."""
    return int(np.ceil(2 * sigma**2 * (critical + _FOR_POWER) ** 2 / np.log(1 - drop) ** 2))


def sessions_to_hold(sigma: float, bound: float) -> int:
    """Return the sessions on each side that show, with a power of 80 %, that a log ratio lies inside ±bound."""
    return int(np.ceil(2 * sigma**2 * (_ONE_SIDED + _BOTH_SIDES) ** 2 / bound**2))


def sigma_of(table: Table, residuals: Residuals, column: int, middle: Candidates) -> float:
    """Return the standard deviation of a session's log metric, after covariates, within its stratum.

    From the standard error of the log ratio at `middle`, one candidate, which the permutations give exactly.
    """
    scores = residuals.scores[:, [column]]
    known = residuals.known[:, column] > 0
    if not len(middle.days) or known.sum() < 3:
        return float("nan")
    after = np.arange(table.size) >= middle.firsts[0]
    information = residuals.weights[:, column] * residuals.expected[:, column]
    if table.metrics[column].family == "size":
        # Normal scores of ranks whose ends are cut vary by a little less than 1.
        unit = float(scores[known].std())
        information = np.full(table.size, unit / max(residuals.dispersion[column], 1e-9))
    total, effective = 0.0, 0.0
    for stratum in np.unique(table.strata[known]):
        rows = known & (table.strata == stratum)
        n1, n0 = float((after & rows).sum()), float((~after & rows).sum())
        if n1 and n0:
            side = after[rows] - n1 / (n1 + n0)
            total += float((information[rows] * side**2).sum())
            effective += n1 * n0 / (n1 + n0)
    deviation = float(deviations(scores, table.strata, middle)[0, 0])
    return deviation / total * np.sqrt(effective) if total > 0 else float("nan")


def power_of(sigma: float, before: int, after: int, critical: float, bound: float) -> Power:
    """Return what a metric with this spread can show with `before` and `after` sessions; `bound` as for holding."""
    smaller = min(before, after)
    return Power(
        sigma=sigma,
        drop=smallest_drop(sigma, max(before, 1), max(after, 1), critical),
        more_for_30=max(0, sessions_a_side(sigma, 0.3, critical) - smaller),
        more_to_hold=max(0, sessions_to_hold(sigma, bound) - smaller),
    )
