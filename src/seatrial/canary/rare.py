"""Rare events: exact tests (binomial, Fisher), and the admission that some cannot be tested (Tarone)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_TIE = 1 + 1e-9


@dataclass(frozen=True)
class RareTest:
    """A rare event before and after: how many, among what exposure, in how many sessions.

    `p` is the larger of the two exact p-values; `least_p` the smallest that these counts could give at all.
    """

    before: float
    after: float
    exposure_before: float
    exposure_after: float
    sessions_before: int
    sessions_after: int
    p: float
    least_p: float


def compare_rare(events: Sequence[float], exposures: Sequence[float], after: Sequence[bool]) -> RareTest:
    """Return the test of events [s] in exposures [s], sessions being before or `after` [s] a boundary.

    The events after, given their total, are binomial; and whether a session has any is compared by Fisher's exact test,
    because events come in clusters.
    """
    sides: list[list[int]] = [[row for row, side in enumerate(after) if side is wanted] for wanted in (False, True)]
    counts = [sum(events[row] for row in rows) for rows in sides]
    exposure = [sum(exposures[row] for row in rows) for rows in sides]
    with_any = [sum(1 for row in rows if events[row] > 0) for rows in sides]
    sizes = [len(rows) for rows in sides]
    total = round(counts[0] + counts[1])
    if not total or not exposure[0] or not exposure[1]:
        return RareTest(counts[0], counts[1], exposure[0], exposure[1], with_any[0], with_any[1], 1.0, 1.0)
    chance = exposure[1] / (exposure[0] + exposure[1])
    p = max(binomial_p(round(counts[1]), total, chance), fisher_p(with_any[1], sizes[1], with_any[0], sizes[0]))
    extremes = (binomial_p(0, total, chance), binomial_p(total, total, chance))
    any_total = with_any[0] + with_any[1]
    most = min(any_total, sizes[1])
    least = max(0, any_total - sizes[0])
    fisher_extremes = [fisher_p(x, sizes[1], any_total - x, sizes[0]) for x in (least, most)]
    return RareTest(
        counts[0],
        counts[1],
        exposure[0],
        exposure[1],
        with_any[0],
        with_any[1],
        p,
        max(min(extremes), min(fisher_extremes)),
    )


def binomial_p(successes: int, trials: int, chance: float) -> float:
    """Return the two-sided exact p-value of a binomial count: the outcomes that are no likelier than the one seen."""
    if not 0 < chance < 1:
        return 1.0
    logs = [
        _log_choose(trials, k) + k * math.log(chance) + (trials - k) * math.log1p(-chance) for k in range(trials + 1)
    ]
    return _as_likely(logs, logs[successes])


def fisher_p(with_a: int, size_a: int, with_b: int, size_b: int) -> float:
    """Return the two-sided p-value of Fisher's exact test of `with_a` of `size_a` against `with_b` of `size_b`."""
    total = with_a + with_b
    low, high = max(0, total - size_b), min(total, size_a)
    logs = [_log_choose(size_a, k) + _log_choose(size_b, total - k) for k in range(low, high + 1)]
    whole = _log_choose(size_a + size_b, total)
    logs = [value - whole for value in logs]
    return _as_likely(logs, logs[with_a - low])


def can_be_tested(least: Sequence[float], alpha: float = 0.05) -> list[bool]:
    """Return which of the tests can be significant at all when their number is corrected for (Tarone).

    The number that counts is the smallest m for which no more than m tests could reach α/m.
    """
    for count in range(1, len(least) + 1):
        if sum(value <= alpha / count for value in least) <= count:
            return [value <= alpha / count for value in least]
    return []


def false_discoveries(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the false discovery rate (Benjamini–Hochberg)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index], reverse=True)
    adjusted, smallest = [1.0] * len(p_values), 1.0
    for rank, index in zip(range(len(p_values), 0, -1), order, strict=True):
        smallest = min(smallest, p_values[index] * len(p_values) / rank)
        adjusted[index] = smallest
    return adjusted


def _as_likely(logs: Sequence[float], seen: float) -> float:
    limit = seen + math.log(_TIE)
    return min(1.0, math.fsum(math.exp(value) for value in logs if value <= limit))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
