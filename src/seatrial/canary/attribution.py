"""Where a change comes from: from other work that was asked for, or from how it was done; and then, from whom.

The first is arithmetic (Kitagawa 1955): over kinds of work c with exposure shares w and rates r,
R¹ − R⁰ = Σ (w¹ − w⁰)(r¹ + r⁰)/2 [composition] + Σ (r¹ − r⁰)(w¹ + w⁰)/2 [rate].  The second compares what else changed
at the same time: the model, the program, its effort, the person's prompts.
"""

from __future__ import annotations

import math

import numpy as np

from seatrial.canary.boundary import Boundary
from seatrial.canary.effect import Location
from seatrial.canary.null import Residuals
from seatrial.canary.suspects import Suspects, suspects_at
from seatrial.canary.table import Flags, Floats, Integers, Table, stratum_means
from seatrial.canary.verdict import RELEVANT, Attribution, Label, Part

_FEWEST_OF_A_CELL = 3
_FEWEST_APART = 8
"""Sessions with the new model under the old version, or the other way round, from which the two can be told apart."""
_LIKE_THE_DATE = 0.85
"""What a label's statistic must be of the date's, to be what explains the change."""
_PRECEDENTS = 2
_CONTROL_P = 0.01


def attribute(
    table: Table,
    residuals: Residuals,
    scores: Floats,
    column: int,
    boundary: Boundary,
    location: Location,
    draws: Floats,
) -> Attribution:
    """Return where a metric's change at a boundary comes from.

    `scores` [s, k] as they were searched; `draws` [b, s] say how often each session is drawn for the intervals.
    """
    weighed = draws * boundary.rows
    composition, rate, incomparable = parts(table, residuals, column, boundary, weighed)
    found = suspects_at(table, column, boundary, location)
    base = Attribution("cannot tell", "", composition, rate, incomparable)
    known = (residuals.known[:, column] > 0) & boundary.rows
    label, why = _who(table, scores[:, column], known, found, base, weighed)
    return Attribution(label, why, composition, rate, incomparable)


def parts(
    table: Table, residuals: Residuals, column: int, boundary: Boundary, draws: Floats
) -> tuple[Part | None, Part | None, float]:
    """Return composition and rate as log ratios with intervals, and the share of work seen on one side only.

    `draws` [b, s] are 0 for sessions that are not compared.
    """
    after, before = boundary.after, boundary.rows & ~boundary.after
    ys, exposures, names = _cells(table, column)
    is_size = table.metrics[column].family == "size"
    weight = np.ones(table.size) if is_size else residuals.weights[:, column]
    ys, exposures = ys * weight[:, None], exposures * weight[:, None]
    ys, exposures = _pooled(ys, exposures, names, after, before)
    shared = (exposures[after] > 0).any(axis=0) & (exposures[before] > 0).any(axis=0)
    total = exposures.sum()
    if not shared.any() or total <= 0:
        return None, None, 1.0
    incomparable = float(exposures[:, ~shared].sum() / total)
    ys, exposures = ys[:, shared], exposures[:, shared]
    point = _kitagawa(ys, exposures, after, boundary.rows[None, :].astype(np.float64), is_size)[0]
    drawn = _kitagawa(ys, exposures, after, draws, is_size)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    made = [Part(float(point[i]), (float(low[i]), float(high[i]))) for i in (0, 1)]
    return made[0], made[1], incomparable


def _cells(table: Table, column: int) -> tuple[Floats, Floats, list[tuple[int, str]]]:
    """Return numerators and exposures [s, c] by stratum and class of prompt; for sizes logarithm and count."""
    metric = table.metrics[column]
    names: dict[tuple[int, str], int] = {}
    entries = []
    for row, session in enumerate(table.sessions):
        for kind, cell in session.cells.items():
            y, exposure = cell.get(metric.name, (0.0, 0.0))
            if metric.family == "size" and (y <= 0 or exposure <= 0):
                continue
            if y or exposure:
                place = names.setdefault((int(table.strata[row]), kind), len(names))
                value = (math.log(y / exposure), 1.0) if metric.family == "size" else (y, exposure)
                entries.append((row, place, value))
    ys, exposures = np.zeros((table.size, len(names))), np.zeros((table.size, len(names)))
    for row, place, value in entries:
        ys[row, place], exposures[row, place] = value
    return ys, exposures, list(names)


def _pooled(
    ys: Floats, exposures: Floats, names: list[tuple[int, str]], after: Flags, before: Flags
) -> tuple[Floats, Floats]:
    """Pool the cells of a stratum that few sessions have on one of the sides."""
    often = np.minimum((exposures[after] > 0).sum(axis=0), (exposures[before] > 0).sum(axis=0))
    groups: dict[tuple[int, str], list[int]] = {}
    for place, (stratum, kind) in enumerate(names):
        groups.setdefault((stratum, kind if often[place] >= _FEWEST_OF_A_CELL else ""), []).append(place)
    pooled = [(ys[:, places].sum(axis=1), exposures[:, places].sum(axis=1)) for places in groups.values()]
    return np.column_stack([y for y, _ in pooled]), np.column_stack([e for _, e in pooled])


def _kitagawa(ys: Floats, exposures: Floats, after: Flags, draws: Floats, is_size: bool) -> Floats:
    """Return composition and rate [b, 2] as log ratios that add up to the log ratio of the whole."""
    y1, y0 = draws[:, after] @ ys[after], draws[:, ~after] @ ys[~after]
    e1, e0 = draws[:, after] @ exposures[after], draws[:, ~after] @ exposures[~after]
    whole1, whole0 = np.maximum(e1.sum(axis=1), 1e-12), np.maximum(e0.sum(axis=1), 1e-12)
    w1, w0 = e1 / whole1[:, None], e0 / whole0[:, None]
    r1, r0 = y1 / np.maximum(e1, 1e-12), y0 / np.maximum(e0, 1e-12)
    # A cell that a draw leaves empty on one side has the other side's rate.
    r1, r0 = np.where(e1 > 0, r1, r0), np.where(e0 > 0, r0, r1)
    composition = ((w1 - w0) * (r1 + r0) / 2).sum(axis=1)
    rate = ((r1 - r0) * (w1 + w0) / 2).sum(axis=1)
    if not is_size:
        total1, total0 = (w1 * r1).sum(axis=1), (w0 * r0).sum(axis=1)
        logs = np.log(np.maximum(total1, 1e-9)) - np.log(np.maximum(total0, 1e-9))
        difference = total1 - total0
        scale = np.where(np.abs(difference) > 1e-12, logs / np.where(difference == 0, 1, difference), 0.0)
        composition, rate = composition * scale, rate * scale
    return np.column_stack([composition, rate])


def _who(
    table: Table, scores: Floats, known: Flags, found: Suspects, base: Attribution, draws: Floats
) -> tuple[Label, str]:
    if base.rate is None or base.composition is None:
        return "cannot tell", "no kind of work was seen both before and after"
    if abs(base.composition.log_ratio) > abs(base.rate.log_ratio):
        return "USER", "most of the change is other work that was asked for"
    change, p = found.control
    if p <= _CONTROL_P and abs(change) >= RELEVANT:
        return "USER", f"the length of the prompts changed at the same time ({math.expm1(change):+.0%}, p = {p:.3f})"
    harness = [name for name in ("version", "effort") if found.moved[name]]
    if found.moved["model"] and harness:
        return _apart(table, scores, known, found, harness[0], draws)
    labels: tuple[tuple[str, Label], ...] = (("model", "MODEL"), ("version", "HARNESS"), ("effort", "HARNESS"))
    for name, label in labels:
        if not found.moved[name]:
            continue
        share = _share_explained(table, scores, known, found.sides[name], found.boundary.after)
        if share < _LIKE_THE_DATE:
            return "cannot tell", f"the {name} changed too, but explains only {share:.0%} of what the date explains"
        others = "version and effort" if name == "model" else "model"
        return label, f"the {name} changed ({found.shown[name]}), {others} did not"
    if not any(found.is_known[name] for name in ("model", "version")):
        return "cannot tell", "the logs name neither model nor version"
    return "UNEXPLAINED", "model, version and effort were the same before and after"


def _share_explained(table: Table, scores: Floats, known: Flags, side: Floats, after: Flags) -> float:
    """Return the label's statistic as a share of the date's, among sessions whose label is on one side."""
    rows = known & ~np.isnan(side)
    if rows.sum() < 4:
        return 0.0
    by_label = _statistic(scores[rows], table.strata[rows], side[rows])
    by_date = _statistic(scores[rows], table.strata[rows], after[rows].astype(np.float64))
    return abs(by_label) / abs(by_date) if by_date else 0.0


def _statistic(scores: Floats, strata: Integers, z: Floats) -> float:
    """Return the sum of scores [s] on one side, z [s] centred within strata, over its standard deviation."""
    scores = scores - stratum_means(scores, strata)
    z = z - stratum_means(z, strata)
    count = np.bincount(strata)
    squares, spread = np.bincount(strata, scores**2), np.bincount(strata, z**2)
    variance = float((squares * spread / np.maximum(count - 1, 1)).sum())
    return float((scores * z).sum()) / math.sqrt(variance) if variance > 1e-12 else 0.0


def _apart(
    table: Table, scores: Floats, known: Flags, found: Suspects, harness: str, draws: Floats
) -> tuple[Label, str]:
    """Tell the model from the program where some sessions have one new and the other old."""
    model, program = found.sides["model"], found.sides[harness]
    rows = known & ~np.isnan(model) & ~np.isnan(program)
    if (rows & (model != program)).sum() >= _FEWEST_APART:
        drawn = _two_effects(scores[rows], table.strata[rows], model[rows], program[rows], draws[:, rows])
        clear = [bool(np.quantile(drawn[:, i], 0.025) > 0 or np.quantile(drawn[:, i], 0.975) < 0) for i in (0, 1)]
        middle = np.abs(np.median(drawn, axis=0))
        if clear[0] and not clear[1] and middle[0] > 2 * middle[1]:
            return "MODEL", f"the model changed ({found.shown['model']}); sessions with a new {harness} alone did not"
        if clear[1] and not clear[0] and middle[1] > 2 * middle[0]:
            return "HARNESS", f"the {harness} changed ({found.shown[harness]}); sessions with a new model alone did not"
    steps, largest, here = found.precedents(table, scores, known)
    if steps >= _PRECEDENTS and largest < 0.6 * abs(here):
        return "MODEL", (
            f"model and version changed together; {steps} changes of version under one model moved it by far less"
            " (by exclusion)"
        )
    return "MODEL or HARNESS", f"model and {harness} changed in the same days"


def _two_effects(scores: Floats, strata: Integers, first: Floats, second: Floats, draws: Floats) -> Floats:
    """Return the effects [b, 2] of two labels on the scores [s] by least squares within strata."""
    centred = [values - stratum_means(values, strata) for values in (scores, first, second)]
    y, a, b = centred
    aa, bb, ab = draws @ (a * a), draws @ (b * b), draws @ (a * b)
    ay, by = draws @ (a * y), draws @ (b * y)
    determinant = aa * bb - ab**2
    determinant = np.where(np.abs(determinant) < 1e-9, np.inf, determinant)
    return np.column_stack([(bb * ay - ab * by) / determinant, (aa * by - ab * ay) / determinant])
