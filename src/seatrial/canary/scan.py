"""Did anything change, and when?  The largest statistic over all dates and metrics, against whole-session permutations.

Westfall–Young single-step max-T.  Within a stratum the residuals are moved between sessions, the same way for every
metric, so that a project that is seen on one side only can say nothing and metrics stay as they hang together.  Where
days resemble the days before, whole blocks of days are moved instead of single sessions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from seatrial.canary.table import Floats, Integers

SESSIONS_A_SIDE = 10
DAYS_A_SIDE = 5
FEWEST_BLOCKS = 8
_RESEMBLING, _RESEMBLING_BOUND = 0.1, 0.2


@dataclass(frozen=True)
class Candidates:
    """The dates at which something may have changed.

    `days` [c] in time order, `firsts` [c] the first session of each; `spread` [c, g] is Σ (z − z̄)² / (n_g − 1) with
    z = 1 from that session on.
    """

    days: Integers
    firsts: Integers
    spread: Floats


@dataclass(frozen=True)
class Scan:
    """`statistics` [c, k] are T_k(τ) of dates, `of_labels` [c', k] those of labels; `largest` [b] the sorted
    largest |T| of each permutation, over both."""

    candidates: Candidates
    statistics: Floats
    of_labels: Floats
    largest: Floats
    block_days: int
    """0 when single sessions were moved, else the length of the blocks of days."""
    is_testable: bool

    def adjusted(self, statistic: float) -> float:
        """Return the p-value of a statistic, adjusted for every date and metric that was looked at."""
        above = len(self.largest) - int(np.searchsorted(self.largest, abs(statistic) - 1e-12, side="left"))
        return (above + 1) / (len(self.largest) + 1)

    def critical(self, level: float = 0.05) -> float:
        """Return the value that the largest statistic exceeds with this probability when nothing has changed."""
        return float(np.quantile(self.largest, 1 - level)) if len(self.largest) else float("inf")

    def best(self, column: int) -> int:
        """Return the candidate at which a metric's statistic is largest."""
        return int(np.argmax(np.abs(self.statistics[:, column])))


def candidates(
    days: Integers, strata: Integers, a_side: int = SESSIONS_A_SIDE, days_a_side: int = DAYS_A_SIDE
) -> Candidates:
    """Return the active days with enough sessions and active days before and after; `days` [s] are in time order."""
    active, firsts = np.unique(days, return_index=True)
    position = np.arange(len(active))
    enough = (firsts >= a_side) & (len(days) - firsts >= a_side)
    enough &= (position >= days_a_side) & (len(active) - position >= days_a_side)
    chosen = firsts[enough]
    return Candidates(active[enough], chosen, _spread(chosen, strata))


def _spread(firsts: Integers, strata: Integers) -> Floats:
    count = int(strata.max(initial=-1)) + 1
    member = strata[:, None] == np.arange(count)
    size = member.sum(axis=0)
    before = np.vstack([np.zeros((1, count)), np.cumsum(member, axis=0)])[firsts]
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(size > 1, before * (size - before) / (size * (size - 1.0)), 0.0)
    return found


def statistics(scores: Floats, strata: Integers, found: Candidates) -> Floats:
    """Return T [c, k] of residuals [s, k] that have mean 0 in each stratum."""
    sums = _after(scores, found.firsts)
    deviation = deviations(scores, strata, found)
    return np.divide(sums, deviation, out=np.zeros_like(sums), where=deviation > 1e-9)


def deviations(scores: Floats, strata: Integers, found: Candidates) -> Floats:
    """Return √V [c, k], the standard deviation over all permutations within strata."""
    count = found.spread.shape[1]
    squares = np.zeros((count, scores.shape[1]))
    np.add.at(squares, strata, scores**2)
    spread: Floats = np.sqrt(found.spread @ squares)
    return spread


def _after(scores: Floats, firsts: Integers) -> Floats:
    """Return the sums from each first session on; the sum over all is 0."""
    summed: Floats = -np.cumsum(scores, axis=0)[firsts - 1]
    return summed


def permutations(
    days: Integers, strata: Integers, count: int, random: np.random.Generator, block_days: int
) -> Iterator[Integers]:
    """Give `count` orders [s] of the sessions: the one that takes each place, always of the same stratum."""
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    if not block_days:
        order = np.concatenate(groups) if groups else np.zeros(0, dtype=np.int64)
        base = strata[order].astype(np.float64)
        for _ in range(count):
            moved = np.empty(len(days), dtype=np.int64)
            moved[order] = order[np.argsort(base + random.random(len(days)), kind="stable")]
            yield moved
        return
    for _ in range(count):
        moved = np.empty(len(days), dtype=np.int64)
        for rows in groups:
            moved[rows] = rows[_moved_blocks(days[rows], random, block_days)]
        yield moved


def _moved_blocks(days: Integers, random: np.random.Generator, block_days: int) -> Integers:
    """Return an order of sessions: turned round by a random number of them, then cut into blocks that are shuffled."""
    turned = np.roll(np.arange(len(days)), int(random.integers(len(days))))
    active = np.unique(days, return_inverse=True)[1]
    block = (active + int(random.integers(block_days))) // block_days
    pieces = np.split(turned, np.flatnonzero(np.diff(block)) + 1)
    return np.concatenate([pieces[index] for index in random.permutation(len(pieces))])


def resemblance(scores: Floats, days: Integers, strata: Integers) -> tuple[Floats, int]:
    """Return how much a day's mean residual resembles that of the active day before, [k], and the number of such pairs.

    A correlation pooled over strata, weighted by their number of days; 0 when there are fewer than 5 pairs.
    """
    products, squares, pairs = np.zeros(scores.shape[1]), np.zeros(scores.shape[1]), 0
    for stratum in np.unique(strata):
        rows = strata == stratum
        _, where = np.unique(days[rows], return_inverse=True)
        size = np.bincount(where)
        if len(size) < 4:
            continue
        sums = np.zeros((len(size), scores.shape[1]))
        np.add.at(sums, where, scores[rows])
        means = sums / size[:, None]
        means = (means - means.mean(axis=0)) * np.sqrt(size)[:, None]
        products += (means[1:] * means[:-1]).sum(axis=0)
        squares += (means**2).sum(axis=0) * (len(means) - 1) / len(means)
        pairs += len(means) - 1
    if pairs < 5:
        return np.zeros(scores.shape[1]), pairs
    # Centred on their own mean, independent days have a correlation of about -1/n.
    found: Floats = np.where(squares > 0, products / np.maximum(squares, 1e-12) + 1 / pairs, 0.0)
    return found, pairs


def do_resemble(correlations: Floats, pairs: int) -> bool:
    """Whether days may resemble each other: the mean correlation of all metrics [k] exceeds 0.1, or its 95 % bound 0.2.

    Short histories cannot show that their days do not, so that they are taken to.
    """
    if pairs < 5 or not len(correlations):
        return False
    mean = float(correlations.mean())
    bound = mean + NormalDist().inv_cdf(0.95) / np.sqrt(pairs)
    return mean > _RESEMBLING or bound > _RESEMBLING_BOUND


def scan(
    scores: Floats,
    days: Integers,
    strata: Integers,
    *,
    permutations_count: int,
    random: np.random.Generator,
    block_days: int = 0,
    contrasts: Floats | None = None,
) -> Scan:
    """Look at all dates, contrasts [c', s] and metrics; `scores` [s, k] in time order, mean 0 in each stratum.

    `block_days` > 0 moves blocks of days.  Not testable without candidates, or with fewer than 8 blocks.
    """
    found = candidates(days, strata)
    contrasts = np.zeros((0, len(days))) if contrasts is None else contrasts
    active = len(np.unique(days))
    is_testable = len(found.days) > 0 and (not block_days or active / block_days >= FEWEST_BLOCKS)
    if not is_testable:
        none = np.zeros((len(found.days), scores.shape[1])), np.zeros((len(contrasts), scores.shape[1]))
        return Scan(found, *none, np.zeros(0), block_days, False)
    inverse = _inverse(deviations(scores, strata, found))
    inverse_of_labels = _inverse(_contrast_deviations(scores, strata, contrasts))
    largest = np.empty(permutations_count)
    for index, order in enumerate(permutations(days, strata, permutations_count, random, block_days)):
        moved = scores[order]
        largest[index] = max(
            np.abs(_after(moved, found.firsts) * inverse).max(initial=0.0),
            np.abs((contrasts @ moved) * inverse_of_labels).max(initial=0.0),
        )
    largest.sort()
    of_labels = (contrasts @ scores) * inverse_of_labels
    return Scan(found, _after(scores, found.firsts) * inverse, of_labels, largest, block_days, True)


def _inverse(deviation: Floats) -> Floats:
    usable = deviation > 1e-9
    found: Floats = np.where(usable, 1 / np.where(usable, deviation, 1), 0.0)
    return found


def _contrast_deviations(scores: Floats, strata: Integers, contrasts: Floats) -> Floats:
    """Return the standard deviation [c, k] of contrasts [c, s] over all permutations within strata."""
    count = int(strata.max(initial=-1)) + 1
    member = (strata[:, None] == np.arange(count)).astype(np.float64)
    spread = (contrasts**2) @ member / np.maximum(member.sum(axis=0) - 1, 1)
    found: Floats = np.sqrt(spread @ (member.T @ scores**2))
    return found


def block_length(days: Integers) -> int:
    """Return how many days a block has: about the cube root of the number of active days, at least 3."""
    return max(3, round(float(np.cbrt(len(np.unique(days))))))
