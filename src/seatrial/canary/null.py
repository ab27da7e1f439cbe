"""The model under "nothing changed", fitted once over all sessions, and what is left of each session: its residual.

Counts are negative binomial with a log link, shares beta-binomial with a logit link,
sizes log-linear with Huber weights.  On the right side stand a level for each stratum and the covariates, the latter
shrunk towards no effect: with few sessions they explain little, and never everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from seatrial.canary.metrics import Metric
from seatrial.canary.table import Flags, Floats, Integers, Table, stratum_means

_PENALTY = 10.0
"""On standardised covariates, in units of the information that a typical session carries."""
_LEVEL_PENALTY = 0.1
_ROUNDS, _DISPERSION_ROUNDS = 25, 4
_HUBER = 1.345
_CLOSE = 1e-4
_WINSORISED = 0.01
_MOST_EXPONENT = 30.0


@dataclass(frozen=True)
class Residuals:
    """What the null model leaves of each session.

    `scores` [s, k] have mean 0 within each stratum, 0 where a session says nothing of a metric (`known` [s, k] is then
    False); `expected` [s, k] is the numerator that the model expects (for sizes: the logarithm of numerator over
    exposure); `weights` [s, k] down-weights large sessions for overdispersion; `dispersion` [k].
    """

    scores: Floats
    known: Floats
    expected: Floats
    weights: Floats
    dispersion: Floats


def fit(table: Table, columns: Sequence[int] | None = None, after: Flags | None = None) -> Residuals:
    """Fit the null model of every metric, or of some `columns`; rare events and what never varies have none.

    With `after` [s] the levels before and after are fitted too, so that covariates do not explain a change away, and
    `expected` is what the level before would give.
    """
    shape = (table.size, len(table.metrics))
    scores, known, expected, weights = (np.zeros(shape) for _ in range(4))
    dispersion = np.zeros(len(table.metrics))
    for place, metric in enumerate(table.metrics):
        if columns is not None and place not in columns:
            continue
        usable = _usable(metric, table.numerators[:, place], table.exposures[:, place])
        if metric.family == "rare" or usable.sum() < 3 or _is_constant(metric, table, usable, place):
            continue
        part = table.select(usable)
        step = (
            after[usable].astype(np.float64) if after is not None and 0 < after[usable].sum() < usable.sum() else None
        )
        y, exposure = part.numerators[:, place], part.exposures[:, place]
        if metric.family == "size":
            raw, mean, weight, dispersion[place] = _size(y, exposure, part, step)
        elif metric.family == "share":
            raw, mean, weight, dispersion[place] = _share(y, exposure, part, step)
        else:
            raw, mean, weight, dispersion[place] = _count(y, exposure, part, step)
        if metric.family == "size":
            raw = _normal_scores(raw, part.strata)
        raw = _winsorised(raw, part.strata)
        scores[usable, place] = raw - stratum_means(raw, part.strata)
        known[usable, place] = 1.0
        expected[usable, place], weights[usable, place] = mean, weight
    return Residuals(scores, known, expected, weights, dispersion)


def _usable(metric: Metric, y: Floats, exposure: Floats) -> Flags:
    if metric.family == "size":
        return (exposure > 0) & (y > 0)
    return exposure > 0


def _is_constant(metric: Metric, table: Table, usable: Flags, place: int) -> bool:
    """Whether a count or a share is 0, or a share 1, in every session: there is nothing to fit."""
    y, exposure = table.numerators[usable, place], table.exposures[usable, place]
    return metric.family != "size" and (not y.any() or (metric.family == "share" and bool((y >= exposure).all())))


def _design(table: Table, step: Floats | None, extra: Floats | None = None) -> tuple[Floats, Floats]:
    """Return the design [s, g + p] and the penalty of each column: levels of strata, covariates, an `extra` [s], and
    last a `step` [s]."""
    used = np.unique(table.strata)
    levels = (table.strata[:, None] == used[None, :]).astype(np.float64)
    columns = [levels, table.covariates]
    if extra is not None and extra.std() > 1e-9:
        columns.append(((extra - extra.mean()) / extra.std())[:, None])
    if step is not None:
        columns.append(step[:, None])
    design = np.column_stack(columns)
    penalty = np.full(design.shape[1], _PENALTY)
    penalty[: len(used)] = penalty[len(used) + table.covariates.shape[1] :] = _LEVEL_PENALTY
    return design, penalty


def _solve(design: Floats, penalty: Floats, information: Floats, score: Floats, beta: Floats, prior: Floats) -> Floats:
    """Return one Newton step of a penalised likelihood; `information` and `score` are per session."""
    scale = float(np.median(information[information > 0])) if (information > 0).any() else 1.0
    pull = penalty * scale
    hessian = (design * information[:, None]).T @ design + np.diag(pull)
    # Where everything is rare, the information of some columns is lost beside that of others.
    hessian[np.diag_indices_from(hessian)] += 1e-9 * hessian.diagonal().max() + 1e-12
    return np.asarray(np.linalg.solve(hessian, design.T @ score - pull * (beta - prior)), dtype=np.float64)


def _prior(design: Floats, level: float, strata_count: int) -> Floats:
    prior = np.zeros(design.shape[1])
    prior[:strata_count] = level
    return prior


def _count(y: Floats, exposure: Floats, table: Table, step_at: Floats | None) -> tuple[Floats, Floats, Floats, float]:
    """Negative binomial: variance μ + φ μ²; φ by moments, 0 when the counts vary less than Poisson's."""
    offset = np.log(exposure)
    # The first edits of a session take more reads than the later ones: the exponent of the exposure is free.
    design, penalty = _design(table, step_at, offset)
    prior = _prior(design, float(np.log((y.sum() + 0.5) / exposure.sum())), len(np.unique(table.strata)))
    beta, phi = prior.copy(), 0.5
    for _ in range(_DISPERSION_ROUNDS):
        for _ in range(_ROUNDS):
            mean = np.exp(np.clip(design @ beta + offset, -_MOST_EXPONENT, _MOST_EXPONENT))
            shrunk = 1 + phi * mean
            step = _solve(design, penalty, mean / shrunk, (y - mean) / shrunk, beta, prior)
            beta = beta + np.clip(step, -2, 2)
            if np.abs(step).max() < _CLOSE:
                break
        mean = np.exp(np.clip(design @ beta + offset, -_MOST_EXPONENT, _MOST_EXPONENT))
        freedom = max(1.0, len(y) - len(np.unique(table.strata)))
        phi = max(0.0, float((((y - mean) ** 2 - mean) / mean**2).clip(max=50).sum() / freedom))
    if step_at is not None:
        mean = mean * np.exp(-beta[-1] * step_at)
    return (y - mean) / (1 + phi * mean), mean, 1 / (1 + phi * mean), phi


def _share(y: Floats, exposure: Floats, table: Table, step_at: Floats | None) -> tuple[Floats, Floats, Floats, float]:
    """Beta-binomial: variance n π (1 − π) (1 + (n − 1) ρ); ρ by moments."""
    design, penalty = _design(table, step_at)
    share = (y.sum() + 0.5) / (exposure.sum() + 1)
    prior = _prior(design, float(np.log(share / (1 - share))), len(np.unique(table.strata)))
    beta, rho = prior.copy(), 0.1
    for _ in range(_DISPERSION_ROUNDS):
        for _ in range(_ROUNDS):
            chance = _logistic(design @ beta)
            inflation = 1 + (exposure - 1) * rho
            information = exposure * chance * (1 - chance) / inflation
            step = _solve(design, penalty, information, (y - exposure * chance) / inflation, beta, prior)
            beta = beta + np.clip(step, -2, 2)
            if np.abs(step).max() < _CLOSE:
                break
        chance = _logistic(design @ beta)
        squares = (y - exposure * chance) ** 2 / (exposure * chance * (1 - chance))
        many = exposure > 1
        freedom = max(1.0, many.sum() - len(np.unique(table.strata)))
        excess = (squares[many] - 1).sum() / freedom if many.any() else 0.0
        rho = float(np.clip(excess / max(1e-9, float(np.median(exposure[many] - 1)) if many.any() else 1.0), 0.0, 0.9))
    inflation = 1 + (exposure - 1) * rho
    if step_at is not None:
        chance = _logistic(design @ beta - beta[-1] * step_at)
    return (y - exposure * chance) / inflation, exposure * chance, 1 / inflation, rho


def _size(y: Floats, exposure: Floats, table: Table, step_at: Floats | None) -> tuple[Floats, Floats, Floats, float]:
    """Return log-linear residuals with Huber weights; dispersion is the robust standard deviation."""
    design, penalty = _design(table, step_at)
    target = np.log(y / exposure)
    strata_count = len(np.unique(table.strata))
    prior = _prior(design, float(np.median(target)), strata_count)
    beta, weight = prior.copy(), np.ones(len(y))
    for _ in range(_ROUNDS):
        step = _solve(design, penalty, weight, weight * (target - design @ beta), beta, prior)
        beta = beta + step
        residual = target - design @ beta
        scale = max(1e-9, float(np.median(np.abs(residual - np.median(residual)))) * 1.4826)
        weight = np.minimum(1.0, _HUBER / np.maximum(np.abs(residual / scale), 1e-12))
        if np.abs(step).max() < _CLOSE:
            break
    expected = design @ beta - (beta[-1] * step_at if step_at is not None else 0.0)
    return residual / scale * weight, expected, weight, scale


def _logistic(x: Floats) -> Floats:
    found: Floats = np.clip(1 / (1 + np.exp(-np.clip(x, -_MOST_EXPONENT, _MOST_EXPONENT))), 1e-6, 1 - 1e-6)
    return found


def _normal_scores(values: Floats, strata: Integers) -> Floats:
    """Return normal scores of ranks within each stratum, scaled back to the stratum's spread."""
    found = np.zeros_like(values)
    normal = NormalDist()
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        ranks = np.argsort(np.argsort(values[rows], kind="stable"), kind="stable")
        found[rows] = [normal.inv_cdf((rank + 0.5) / len(rows)) for rank in ranks]
    return found


def _winsorised(values: Floats, strata: Integers) -> Floats:
    found = values.copy()
    for stratum in np.unique(strata):
        rows = strata == stratum
        low, high = np.quantile(values[rows], (_WINSORISED, 1 - _WINSORISED))
        found[rows] = np.clip(values[rows], low, high)
    return found
