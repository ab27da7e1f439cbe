"""How often this very history gives a false alarm, and what it would find: placebos and planted changes.

A placebo turns every project's sessions round in a circle by a random number of places, after the change that was found
is taken out, and judges again: there is nothing to find.  A plant thins the counts of one metric from a random date on.
Turning does not change what the permutations of the report itself say, so that its critical value serves for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from seatrial.canary import null, search
from seatrial.canary import scan as scanning
from seatrial.canary.effect import cross_fitted, searched_size
from seatrial.canary.scan import Scan
from seatrial.canary.search import Prepared
from seatrial.canary.table import Floats, Integers, Table
from seatrial.canary.verdict import ALPHA, RELEVANT

_DRAWS = 60
_WORST = 0.10
_FEWEST_PLANTS, _PLANTED_SESSIONS = 20, 100_000
PLANTED = "reads_per_edit"
DROPS = (0.3, 0.5)


@dataclass(frozen=True)
class Placebo:
    """`alarms` of `runs` placebos gave a verdict of a change; `interval` is Wilson's at 95 %."""

    runs: int
    alarms: int
    interval: tuple[float, float]
    found: dict[float, tuple[int, int]]
    """Planted drops that were found, and how many were planted."""

    @property
    def is_calibrated(self) -> bool:
        """Whether the rate of false alarms on this history is at most 10 %, for all that is known."""
        return self.interval[1] <= _WORST


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of a share."""
    if not trials:
        return 0.0, 1.0
    share, square = successes / trials, z * z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = z / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def calibrate(
    prepared: Prepared, found: Scan, placebos: int, plants: int, random: np.random.Generator
) -> Placebo | None:
    """Return the rates on this history; None when there is no date to search."""
    if not found.is_testable or not placebos:
        return None
    still = _still(prepared, found)
    alarms = sum(_alarms(prepared, still, found, random) for _ in range(placebos))
    return Placebo(placebos, alarms, wilson(alarms, placebos), planted(prepared, found, plants, random))


def _still(prepared: Prepared, found: Scan) -> Floats:
    """Return the searched scores [s, k] without the changes that were found, at dates and at labels' new values."""
    has_changed = found.adjusted(float(np.abs(found.statistics).max(initial=0.0))) <= ALPHA
    scores = search.without_steps(prepared) if has_changed else prepared.chosen.copy()
    for entry, of_label in zip(prepared.new_values, np.abs(found.of_labels), strict=True):
        for place in np.flatnonzero(of_label >= found.critical(ALPHA)):
            scores[:, place] = search.centred_on_sides(scores[:, place], prepared.table, entry.after)
    return scores


def _alarms(prepared: Prepared, scores: Floats, found: Scan, random: np.random.Generator) -> bool:
    """Whether one placebo gives a false alarm, by all the rules."""
    table = prepared.table
    order = turned_round(table, random)
    statistics = scanning.statistics(scores[order], table.strata, found.candidates)
    strongest = np.abs(statistics).max(axis=0)
    for place in np.flatnonzero(strongest >= found.critical(ALPHA)):
        column = prepared.searched[int(place)]
        # The values travel with the scores; days and strata stay where they are.
        turned = replace(table, numerators=table.numerators[order], exposures=table.exposures[order])
        kept = prepared.residuals
        moved = replace(kept, known=kept.known[order], expected=kept.expected[order], weights=kept.weights[order])
        if abs(cross_fitted(turned, moved, column, scores[order, place])) < RELEVANT:
            continue
        size, _ = searched_size(turned, moved, column, scores[order, place], _DRAWS, random)
        if abs(size.log_ratio) >= RELEVANT and size.is_clear:
            return True
    return False


def turned_round(table: Table, random: np.random.Generator) -> Integers:
    """Return an order [s] in which each stratum's sessions are turned round by a random number of places."""
    order = np.arange(table.size)
    for stratum in np.unique(table.strata):
        rows = np.flatnonzero(table.strata == stratum)
        order[rows] = np.roll(rows, int(random.integers(len(rows))))
    return order


def planted(prepared: Prepared, found: Scan, runs: int, random: np.random.Generator) -> dict[float, tuple[int, int]]:
    """Return how many planted drops of reads per edit were found at the report's own critical value."""
    table = prepared.table
    names = [metric.name for metric in table.metrics]
    if PLANTED not in names or names.index(PLANTED) not in prepared.searched or not runs:
        return {}
    column = names.index(PLANTED)
    single = replace(
        table,
        metrics=(table.metrics[column],),
        numerators=table.numerators[:, [column]],
        exposures=table.exposures[:, [column]],
    )
    # Of many sessions every plant is found, and each costs as much as the history is long.
    runs = min(runs, max(_FEWEST_PLANTS, _PLANTED_SESSIONS // table.size))
    result = {}
    for drop in DROPS:
        hits = 0
        for _ in range(runs):
            # From the middle third: a drop in the last week is no fair question.
            dates = found.candidates.firsts
            first = int(random.choice(dates[len(dates) // 3 : max(len(dates) // 3 + 1, 2 * len(dates) // 3)]))
            order = turned_round(table, random)
            counts = single.numerators[order, 0].astype(np.int64)
            after = np.arange(table.size) >= first
            kept = np.where(after, random.binomial(counts, 1 - drop), counts).astype(np.float64)
            moved = replace(
                single,
                numerators=kept[:, None],
                exposures=single.exposures[order],
                covariates=table.covariates[order],
            )
            strongest = scanning.statistics(null.fit(moved).scores, table.strata, found.candidates)
            hits += bool(np.abs(strongest).max() >= found.critical(ALPHA))
        result[drop] = (hits, runs)
    return result
