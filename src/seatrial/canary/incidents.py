"""Known incidents: dated facts from `incidents.toml`, each tested by a contrast of its own where it has a signature."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import numpy as np

from seatrial.canary.contrast import difference
from seatrial.canary.search import Prepared
from seatrial.canary.table import Flags, Floats, Table, stratum_means

_FEWEST = 10
_ROUNDS = 1999


@dataclass(frozen=True)
class Incident:
    """`metric` is where it should show; `against` a metric that it leaves alone, which is then taken off."""

    name: str
    start: date
    end: date
    source: str
    agent: str = ""
    models: tuple[str, ...] = ()
    metric: str = ""
    against: str = ""
    direction: str = ""


@dataclass(frozen=True)
class Tested:
    """An incident that overlaps the history: the mean log difference inside − outside, and its permutation p-value.

    `p` is None, with the reason in `why`, when it cannot be tested.
    """

    incident: Incident
    inside: int
    outside: int
    log_ratio: float = 0.0
    p: float | None = None
    why: str = ""

    @property
    def is_seen(self) -> bool:
        """Whether its signature is there: significant, and in the direction that it should have."""
        return self.p is not None and self.p <= 0.05 and (self.log_ratio > 0) == (self.incident.direction == "up")


@cache
def known() -> tuple[Incident, ...]:
    """Return all known incidents."""
    table = tomllib.loads(Path(__file__).with_name("incidents.toml").read_text(encoding="utf-8"))
    return tuple(
        Incident(
            entry["name"], entry["from"], entry["to"], entry["source"], entry.get("agent", ""),
            tuple(entry.get("models", ())), entry.get("metric", ""), entry.get("against", ""),
            entry.get("direction", ""),
        )
        for entry in table["incident"]
    )  # fmt: skip


def test(prepared: Prepared) -> list[Tested]:
    """Return the incidents during which there were sessions they may have touched."""
    table = prepared.table
    found = []
    for incident in known():
        touched = _touched(table, incident)
        inside = touched & (table.days >= incident.start.toordinal()) & (table.days < incident.end.toordinal())
        if inside.any():
            found.append(_tested(prepared, incident, touched, inside))
    return found


def _touched(table: Table, incident: Incident) -> Flags:
    def is_touched(agent: str, model: str) -> bool:
        is_model = not incident.models or any(fnmatchcase(model, pattern) for pattern in incident.models)
        return is_model and incident.agent in ("", agent)

    rows = [is_touched(session.agent, session.labels.get("model", "")) for session in table.sessions]
    return np.array(rows, dtype=np.bool_)


def _tested(prepared: Prepared, incident: Incident, touched: Flags, inside: Flags) -> Tested:
    counts = int(inside.sum()), int((touched & ~inside).sum())
    if not incident.metric:
        return Tested(incident, *counts, why="it has no signature in logs")
    values, known_values = _values(prepared.table, incident)
    rows = touched & known_values
    counts = int((rows & inside).sum()), int((rows & ~inside).sum())
    if min(counts) < _FEWEST:
        return Tested(incident, *counts, why=f"{counts[0]} sessions inside and {counts[1]} outside; 10 are needed")
    strata = prepared.table.strata[rows]
    share = stratum_means(inside[rows].astype(np.float64), strata)
    if not ((share > 0) & (share < 1)).any():
        return Tested(incident, *counts, why="no project has sessions both inside and outside")
    return Tested(incident, *counts, *difference(values[rows], inside[rows], strata, _ROUNDS))


def _values(table: Table, incident: Incident) -> tuple[Floats, Flags]:
    """Return the logarithm of each session's value [s], less that of the metric it is held against, and where it is."""
    total = np.zeros(table.size)
    usable = np.ones(table.size, dtype=np.bool_)
    for name, sign in ((incident.metric, 1.0), (incident.against, -1.0)):
        if name:
            column = table.column(name)
            y, exposure = table.numerators[:, column], table.exposures[:, column]
            usable &= exposure > 0
            total += sign * np.log((y + 0.5) / np.maximum(exposure, 1e-12) if (exposure > 0).any() else np.ones_like(y))
    return np.where(usable, total, 0.0), usable
