"""Sessions made ready for the search, and the search itself: what a report, its placebos and its plants share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seatrial.canary import boundary, formats, null, scan
from seatrial.canary.features import Features
from seatrial.canary.metrics import METRICS, Metric
from seatrial.canary.table import Flags, Floats, Table, build, stratum_means


@dataclass(frozen=True)
class Prepared:
    """`searched` are the columns of the metrics that are searched; `scores` [s, k] what is left of each session."""

    table: Table
    residuals: null.Residuals
    formats: formats.Formats
    searched: list[int]
    scores: Floats
    labelled: list[boundary.Boundary]
    """Every value of a label that can be compared."""

    @property
    def new_values(self) -> list[boundary.Boundary]:
        """Return the values that came within the history: they are searched beside the dates."""
        return [entry for entry in self.labelled if boundary.is_new(self.table, entry)]

    @property
    def chosen(self) -> Floats:
        """Return the scores [s, searched metrics]."""
        return self.scores[:, self.searched]


def prepare(sessions: Sequence[Features], metrics: Sequence[Metric] = METRICS) -> Prepared:
    """Fit the null models, and take changes of format out of what is left."""
    return of_table(build(sessions, metrics))


def of_table(table: Table) -> Prepared:
    """Return a table made ready; see `prepare`."""
    residuals = null.fit(table)
    found = formats.find(table)
    scores = formats.centred(
        residuals.scores, residuals.known, table.strata, found.states, list(range(len(table.metrics)))
    )
    searched = [
        index
        for index, metric in enumerate(table.metrics)
        if metric.is_headline
        and metric.family != "rare"
        and residuals.known[:, index].sum() >= 2 * scan.SESSIONS_A_SIDE
    ]
    return Prepared(table, residuals, found, searched, scores, boundary.of_labels(table))


def block_days(prepared: Prepared) -> int:
    """Return the length of the blocks of days that are moved together, or 0 when days do not resemble each other.

    A step at the strongest date of each metric is taken out first: a change is no resemblance.
    """
    table, scores = prepared.table, without_steps(prepared)
    do_resemble = scan.do_resemble(*scan.resemblance(scores, table.days, table.strata))
    return scan.block_length(table.days) if do_resemble else 0


def without_steps(prepared: Prepared) -> Floats:
    """Return the searched scores [s, k], centred before and after the strongest date of each."""
    table, scores = prepared.table, prepared.chosen.copy()
    dates = scan.candidates(table.days, table.strata)
    if not len(dates.days):
        return scores
    strengths = np.abs(scan.statistics(scores, table.strata, dates))
    for column in range(scores.shape[1]):
        after = np.arange(table.size) >= dates.firsts[int(np.argmax(strengths[:, column]))]
        scores[:, column] = centred_on_sides(scores[:, column], table, after)
    return scores


def centred_on_sides(scores: Floats, table: Table, after: Flags) -> Floats:
    """Return scores [s] with mean 0 in each stratum on each side."""
    groups = 2 * table.strata + after
    known = scores != 0
    return np.where(known, scores - stratum_means(scores, groups, known), 0.0)


def search(prepared: Prepared, count: int, random: np.random.Generator) -> scan.Scan:
    """Search all dates and metrics with `count` permutations."""
    table = prepared.table
    return scan.scan(
        prepared.chosen,
        table.days,
        table.strata,
        permutations_count=count,
        random=random,
        block_days=block_days(prepared),
        contrasts=boundary.contrasts(table, prepared.new_values),
    )
