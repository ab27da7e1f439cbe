"""Sessions as arrays: what the statistics work on.

Axes: s sessions in the order of their start, k metrics, g strata, p covariates.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from seatrial.canary.features import PROMPT_CLASSES, Features
from seatrial.canary.metrics import METRICS, Metric

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
_FEWEST_OF_A_PROJECT = 5
OTHER_PROJECT = "other"
_Array = TypeVar("_Array", Floats, Integers, Flags)


@dataclass(frozen=True)
class Table:
    """Judged sessions in the order of their start.

    `numerators` and `exposures` are [s, k], with exposure 0 where a session says nothing of a metric; `days` counts
    days since year 1 in UTC; `strata` [s] numbers project × place; `covariates` [s, p] are centred and scaled to 1.
    """

    sessions: tuple[Features, ...]
    metrics: tuple[Metric, ...]
    days: Integers
    strata: Integers
    stratum_names: tuple[str, ...]
    numerators: Floats
    exposures: Floats
    covariates: Floats

    @property
    def size(self) -> int:
        """Number of sessions."""
        return len(self.sessions)

    def labels(self, name: str) -> list[str]:
        """Return a label of every session."""
        return [session.labels.get(name, "") for session in self.sessions]

    def select(self, chosen: Integers | Flags) -> Table:
        """Return the table of some sessions, in the same order; strata keep their numbers."""
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return replace(
            self,
            sessions=tuple(self.sessions[row] for row in rows),
            days=self.days[rows],
            strata=self.strata[rows],
            numerators=self.numerators[rows],
            exposures=self.exposures[rows],
            covariates=self.covariates[rows],
        )

    def column(self, metric: str) -> int:
        """Return the place of a metric."""
        return [entry.name for entry in self.metrics].index(metric)


def build(sessions: Sequence[Features], metrics: Sequence[Metric] = METRICS) -> Table:
    """Return the table of `sessions` that are not excluded; projects with few sessions are pooled for each place."""
    judged = sorted((session for session in sessions if not session.excluded), key=lambda s: (s.start, s.session))
    keys = [(session.place, session.project) for session in judged]
    often = Counter(keys)
    named = [
        (place, project if often[place, project] >= _FEWEST_OF_A_PROJECT else OTHER_PROJECT) for place, project in keys
    ]
    names = sorted(set(named))
    number = {name: index for index, name in enumerate(names)}
    totals = [[session.total(metric.name) for metric in metrics] for session in judged]
    values = np.array(totals, dtype=np.float64).reshape(len(judged), len(metrics), 2)
    return Table(
        sessions=tuple(judged),
        metrics=tuple(metrics),
        days=np.array([day_of(session.start) for session in judged], dtype=np.int64),
        strata=np.array([number[name] for name in named], dtype=np.int64),
        stratum_names=tuple("/".join(filter(None, name)) for name in names),
        numerators=values[:, :, 0],
        exposures=values[:, :, 1],
        covariates=_covariates(judged),
    )


def day_of(seconds: float) -> int:
    """Return the day (UTC) of a time, counted from year 1."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).toordinal()


def _covariates(sessions: Sequence[Features]) -> Floats:
    """Return what was known before the agent acted, [s, p], centred and scaled; constant columns are left out."""
    if not sessions:
        return np.zeros((0, 0))
    columns = []
    for session in sessions:
        given = session.covariates
        moment = datetime.datetime.fromtimestamp(session.start, datetime.UTC)
        columns.append(
            [
                given.get("log_prompt_characters", 0.0),
                np.log1p(session.prompts),
                given.get("slash_share", 0.0),
                *(given.get(f"class_{name}", 0.0) for name in PROMPT_CLASSES[:-1]),
                moment.weekday() >= 5,
                np.sin(moment.hour * np.pi / 12),
                np.cos(moment.hour * np.pi / 12),
            ]
        )
    found = np.array(columns, dtype=np.float64)
    for name in ("permission", "entrypoint"):
        found = np.column_stack([found, *_one_hot([session.labels.get(name, "") for session in sessions])])
    found = np.column_stack([found, *_one_hot([session.language for session in sessions])])
    spread = found.std(axis=0)
    found = found[:, spread > 1e-9]
    scaled: Floats = (found - found.mean(axis=0)) / found.std(axis=0)
    return scaled


def _one_hot(labels: Sequence[str], fewest: int = _FEWEST_OF_A_PROJECT) -> list[Floats]:
    """Return an indicator for each label that at least `fewest` carry, but for the commonest."""
    common = [label for label, count in Counter(labels).most_common() if count >= fewest][1:]
    return [np.array([float(label == entry) for label in labels]) for entry in common]


def stratum_means(values: Floats, strata: Integers, mask: Flags | None = None) -> Floats:
    """Return the mean of `values` [s, …] within its stratum, over sessions in `mask` [s, …], for every session."""
    weights = np.ones_like(values) if mask is None else mask.astype(np.float64)
    count = strata.max(initial=-1) + 1
    sums = np.zeros((count, *values.shape[1:]))
    totals = np.zeros((count, *values.shape[1:]))
    np.add.at(sums, strata, values * weights)
    np.add.at(totals, strata, weights)
    means: Floats = (sums / np.maximum(totals, 1e-300))[strata]
    return means
