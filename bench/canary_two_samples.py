"""Two-sample tests that the rival detectors use: Welch's t-test and the test of Mann and Whitney, two-sided."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seatrial.canary.table import Floats

_TINY = 1e-300
_PRECISION = 1e-14
_MOST_TERMS = 10_000
_SLOW_FROM = 0.99


def welch_p(before: Sequence[float] | Floats, after: Sequence[float] | Floats) -> float:
    """Return the p-value that two means are equal, variances being what they are; 1.0 with fewer than two values."""
    a, b = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if a.size < 2 or b.size < 2:
        return 1.0
    parts = (float(a.var(ddof=1)) / a.size, float(b.var(ddof=1)) / b.size)
    total = sum(parts)
    difference = float(b.mean() - a.mean())
    if total <= 0:
        return 1.0 if difference == 0 else 0.0
    freedom = total**2 / (parts[0] ** 2 / (a.size - 1) + parts[1] ** 2 / (b.size - 1))
    return student_p(difference / math.sqrt(total), freedom)


def student_p(t: float, freedom: float) -> float:
    """Return the probability, to about 10⁻⁸, that Student's t with `freedom` degrees is as far from 0 as `t`."""
    return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, from its power series on the side where that is short."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > min((a + 1) / (a + b + 2), _SLOW_FROM):
        return max(0.0, 1 - _beta_series(1 - x, b, a))
    return _beta_series(x, a, b)


def _beta_series(x: float, a: float, b: float) -> float:
    """I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) · Σ_n Π_{k<n} (a + b + k) x / (a + 1 + k); all terms are positive."""
    term = total = 1.0
    for n in range(_MOST_TERMS):
        term *= (a + b + n) * x / (a + 1 + n)
        total += term
        if term < _PRECISION * total:
            break
    if math.isinf(total):
        return 1.0
    front = math.lgamma(a + b) - math.lgamma(a + 1) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return min(1.0, math.exp(front) * total)


def mann_whitney_p(before: Sequence[float] | Floats, after: Sequence[float] | Floats) -> float:
    """Return the p-value that neither side tends to be larger: normal approximation, corrected for ties and steps.

    1.0 when a side is empty or all values are equal.
    """
    a, b = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    size = a.size + b.size
    if not a.size or not b.size:
        return 1.0
    _, place, counts = np.unique(np.concatenate([a, b]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    u = float(ranks[a.size :].sum()) - b.size * (b.size + 1) / 2
    ties = float((counts.astype(np.float64) ** 3 - counts).sum())
    variance = a.size * b.size / 12 * (size + 1 - ties / (size * max(size - 1, 1)))
    if variance <= _TINY:
        return 1.0
    distance = max(abs(u - a.size * b.size / 2) - 0.5, 0.0)
    return math.erfc(distance / math.sqrt(2 * variance))


def least_mann_whitney_p(values: Sequence[float] | Floats, size_before: int) -> float:
    """Return the smallest p-value that these values could give: with all large ones on one side."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    others = ordered.size - size_before
    return min(
        mann_whitney_p(ordered[:size_before], ordered[size_before:]),
        mann_whitney_p(ordered[others:], ordered[:others]),
    )
