"""When and how much: the location of a change with its interval, and a size that the search has not inflated.

Sizes are logarithms of ratios after/before within strata; intervals come from sessions drawn anew within their stratum
(percentile bootstrap), the size of a searched change from cross-fitting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seatrial.canary.null import Residuals
from seatrial.canary.scan import candidates, statistics
from seatrial.canary.table import Flags, Floats, Integers, Table, stratum_means

_LARGEST = 5.0
"""Of a log ratio: a metric that is 0 on one side has no finite one."""


@dataclass(frozen=True)
class Size:
    """A log ratio after/before with its 90 % and 95 % intervals, each (low, high)."""

    log_ratio: float
    interval90: tuple[float, float]
    interval95: tuple[float, float]

    @property
    def is_clear(self) -> bool:
        """Whether the 95 % interval excludes "no change"."""
        return self.interval95[0] > 0 or self.interval95[1] < 0

    def is_within(self, bound: float) -> bool:
        """Whether the 90 % interval lies inside ±bound: two one-sided tests at 5 %."""
        return -bound < self.interval90[0] and self.interval90[1] < bound


@dataclass(frozen=True)
class Location:
    """The day of a change (days since year 1) and the active days that it lies between."""

    day: int
    earliest: int
    latest: int


def resampled(strata: Integers, count: int, random: np.random.Generator) -> Floats:
    """Return how often each session is drawn, [b, s], when sessions are drawn anew within their stratum."""
    found = np.zeros((count, len(strata)))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        found[:, rows] = random.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=count)
    return found


def log_ratios(table: Table, residuals: Residuals, column: int, after: Flags, draws: Floats) -> Floats:
    """Return the log ratio after/before of a metric, [b], for sessions that count `draws` [b, s] times.

    Counts and shares by a Mantel–Haenszel ratio of what was seen to what the null model expects, large sessions
    weighing less for overdispersion; sizes by differences of residuals.  Strata on one side only say nothing.
    """
    known = residuals.known[:, column] > 0
    used = np.unique(table.strata[known])
    if not len(used):
        return np.zeros(len(draws))
    member = (table.strata[:, None] == used[None, :]) & known[:, None]
    weights, expected = residuals.weights[:, column], residuals.expected[:, column]

    def sums(values: Floats, side: Flags) -> Floats:
        found: Floats = draws @ (member * (values * side)[:, None])
        return found

    if table.metrics[column].family == "size":
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(table.numerators[:, column] / table.exposures[:, column])
            left = np.where(known, logs - expected, 0.0)
        sizes = sums(weights, after), sums(weights, ~after)
        means = [
            sums(weights * left, side) / np.maximum(n, 1e-12) for side, n in zip((after, ~after), sizes, strict=True)
        ]
        shared = sizes[0] * sizes[1] / np.maximum(sizes[0] + sizes[1], 1e-12)
        found = (shared * (means[0] - means[1])).sum(axis=1) / np.maximum(shared.sum(axis=1), 1e-12)
    else:
        seen = weights * table.numerators[:, column]
        due = weights * expected
        due1, due0 = sums(due, after), sums(due, ~after)
        whole = np.maximum(due1 + due0, 1e-12)
        upper = (sums(seen, after) * due0 / whole).sum(axis=1)
        lower = (sums(seen, ~after) * due1 / whole).sum(axis=1)
        # Half an event on each side, so that none on one of them is no infinite change.
        half = 0.5 * float(np.median(weights[known]))
        found = np.log(upper + half) - np.log(lower + half)
    clipped: Floats = np.clip(found, -_LARGEST, _LARGEST)
    return clipped


def size_at(
    table: Table, residuals: Residuals, column: int, after: Flags, draws: Floats, rows: Flags | None = None
) -> Size:
    """Return the size of a change at a boundary that was not searched for, over `rows` [s] (all by default)."""
    weight = np.ones((1, table.size)) if rows is None else rows[None, :].astype(np.float64)
    point = float(log_ratios(table, residuals, column, after, weight)[0])
    drawn = log_ratios(table, residuals, column, after, draws * weight)
    return _sized(point, _widened(table, residuals, column, point, drawn))


def searched_size(
    table: Table, residuals: Residuals, column: int, scores: Floats, count: int, random: np.random.Generator
) -> tuple[Size, Location]:
    """Return the cross-fitted size of a change whose date was searched for, and where it lies.

    The date is looked for among every other session, the size taken from the rest, and both the other way round.
    `scores` [s] are the metric's residuals as they were searched.
    """
    point = cross_fitted(table, residuals, column, scores)
    days = _located(scores, table.days, table.strata, 1)
    sizes, located = [], []
    groups = [np.flatnonzero(table.strata == stratum) for stratum in np.unique(table.strata)]
    for _ in range(count):
        rows = np.sort(np.concatenate([random.choice(group, len(group)) for group in groups]))
        sizes.append(cross_fitted(table, residuals, column, scores, rows))
        located.append(_located(scores[rows], table.days[rows], table.strata[rows], 1))
    low, high = np.quantile(located, (0.025, 0.975), method="inverted_cdf")
    active = np.unique(table.days)
    # The change lies after the last active day before, and on or before the day found.
    earliest = active[max(0, int(np.searchsorted(active, min(low, days))) - 1)]
    drawn = _widened(table, residuals, column, point, np.array(sizes))
    return _sized(point, drawn), Location(days, int(earliest), int(max(high, days)))


def cross_fitted(
    table: Table, residuals: Residuals, column: int, scores: Floats, rows: Integers | None = None
) -> float:
    """Return the mean of the log ratios in each half at the date that the other half gives, over `rows` (all: None)."""
    rows = np.arange(table.size) if rows is None else rows
    draws = np.bincount(rows, minlength=table.size).astype(np.float64)[None, :]
    sizes = []
    for half in (0, 1):
        looked = rows[rows % 2 == half]
        day = _located(scores[looked], table.days[looked], table.strata[looked], 2)
        held_out = draws * (np.arange(table.size) % 2 != half)
        sizes.append(float(log_ratios(table, residuals, column, table.days >= day, held_out)[0]))
    return float(np.mean(sizes))


def _located(scores: Floats, days: Integers, strata: Integers, share: int) -> int:
    """Return the day with the largest statistic; `share` 2 asks for half as many sessions and days a side."""
    for a_side, days_a_side in ((10 // share, 5 // share), (2, 1), (1, 0)):
        found = candidates(days, strata, a_side, days_a_side)
        if len(found.days):
            break
    else:
        return int(days[len(days) // 2])
    centred = (scores - stratum_means(scores, strata))[:, None]
    return int(found.days[np.argmax(np.abs(statistics(centred, strata, found)[:, 0]))])


def _widened(table: Table, residuals: Residuals, column: int, point: float, drawn: Floats) -> Floats:
    """Return drawn log ratios [b] of a size with the spread of an estimate that finds its own Huber weights.

    Sessions are drawn anew with the weights of the whole history, whose spread is smaller: by the share of sessions
    that keep their full weight over the mean weight.
    """
    if table.metrics[column].family != "size":
        return drawn
    weights = residuals.weights[residuals.known[:, column] > 0, column]
    if not len(weights):
        return drawn
    factor = float(weights.mean() / max(0.5, float((weights >= 1).mean())))
    wider: Floats = point + (drawn - point) * max(1.0, factor)
    return wider


def _sized(point: float, drawn: Floats) -> Size:
    low95, low90, high90, high95 = np.quantile(drawn, (0.025, 0.05, 0.95, 0.975))
    return Size(point, (float(low90), float(high90)), (float(low95), float(high95)))
