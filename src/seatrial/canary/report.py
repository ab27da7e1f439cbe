"""A report: the judgement with everything that people ask next, as data.  Text and page are made from this alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from seatrial.canary import incidents
from seatrial.canary.contrast import difference
from seatrial.canary.features import MIXED, Features
from seatrial.canary.judge import Judgement
from seatrial.canary.named import Named
from seatrial.canary.table import Table
from seatrial.canary.verdict import Attribution, Finding, Part

SCHEMA = 1
_CONTROLS = {
    "prompt_characters": "characters of a typed prompt",
    "seconds_between_prompts": "seconds between prompts",
    "result_characters": "characters of a tool's result",
}


@dataclass(frozen=True)
class Window:
    """What was looked at; empty strings stand for all agents and projects."""

    since: date | None = None
    until: date | None = None
    agent: str = ""
    project: str = ""


@dataclass(frozen=True)
class Report:
    """A judgement and its surroundings; `as_dict` is what `--json` prints."""

    judgement: Judgement
    window: Window
    sessions: Sequence[Features]
    """All sessions of the window, those that are not judged included."""
    logs: dict[str, Any] = field(default_factory=dict)
    """How well the logs could be read, from the history."""
    costs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Return the verdict."""
        return self.judgement.verdict

    def as_dict(self) -> dict[str, Any]:
        """Return the report as values of JSON."""
        judgement = self.judgement
        return {
            "schema": SCHEMA,
            "verdict": judgement.verdict,
            "reason": judgement.reason,
            "window": self._window(),
            "sessions": self._counts(),
            "boundary": _boundary(judgement),
            "metrics": [_metric(finding) for finding in judgement.findings],
            "labels": [_named(entry) for entry in judgement.named],
            "by_work": list(judgement.by_work),
            "by_format": [
                {"field": s.field, "day": _day(s.day), "appears": s.appears, "metrics": list(s.metrics)}
                for s in judgement.by_format
            ],
            "search": _search(judgement),
            "placebo": _placebo(judgement),
            "incidents": [_incident(entry) for entry in incidents.test(judgement.prepared)],
            "controls": _controls(judgement),
            "timeline": _timeline(judgement.prepared.table),
            "values": _values(judgement.prepared.table),
            "tokens": self._tokens(),
            "costs": self.costs,
            "logs": self.logs,
        }

    def _window(self) -> dict[str, Any]:
        table = self.judgement.prepared.table
        first, last = (int(table.days[0]), int(table.days[-1])) if table.size else (0, 0)
        return {
            "since": self.window.since.isoformat() if self.window.since else None,
            "until": self.window.until.isoformat() if self.window.until else None,
            "agent": self.window.agent,
            "project": self.window.project,
            "first_day": _day(first),
            "last_day": _day(last),
            "active_days": len(np.unique(table.days)),
            "projects": len({(session.place, session.project) for session in table.sessions}),
        }

    def _counts(self) -> dict[str, Any]:
        standing = self.judgement.standing
        excluded = Counter(session.excluded for session in self.sessions if session.excluded)
        return {
            "all": len(self.sessions),
            "judged": standing.sessions,
            "before": standing.before,
            "after": standing.after,
            "informative": standing.informative,
            "excluded": dict(excluded.most_common()),
        }

    def _tokens(self) -> dict[str, Any]:
        """Return totals by both ways of counting, and the versions whose logs hold no final counts."""
        rows = [row for session in self.sessions for row in session.usage]
        partial = Counter(session.labels.get("version", "") for session in self.sessions if session.has_partial_usage)
        names = ("input", "output", "cache_read", "cache_write", "reasoning", "messages")
        return {
            "main": {name: sum(getattr(row, name) for row in rows if not row.is_subagent) for name in names},
            "subagents": {name: sum(getattr(row, name) for row in rows if row.is_subagent) for name in names},
            "first_line_output": sum(row.first_output for row in rows if not row.is_subagent),
            "partial_sessions": sum(partial.values()),
            "partial_versions": sorted(version for version in partial if version not in ("", MIXED)),
        }


def _day(ordinal: int) -> str | None:
    return date.fromordinal(ordinal).isoformat() if ordinal else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _boundary(judgement: Judgement) -> dict[str, Any]:
    boundary, location = judgement.boundary, judgement.location
    kind = "middle" if location is None else ("label" if boundary.label else "date")
    return {
        "kind": kind,
        "day": _day(boundary.day),
        "earliest": _day(location.earliest) if location else None,
        "latest": _day(location.latest) if location else None,
        "label": boundary.label,
        "value": boundary.value,
    }


def _metric(finding: Finding) -> dict[str, Any]:
    metric, size, location = finding.metric, finding.size, finding.location
    made: dict[str, Any] = {
        "name": metric.name,
        "title": metric.title,
        "family": metric.family,
        "unit": metric.unit,
        "harm": metric.harm,
        "numerator": metric.numerator,
        "exposure": metric.exposure,
        "headline": metric.is_headline and metric.family != "rare",
        "state": finding.state,
        "why": finding.why,
        "direction": finding.direction,
        "sessions": list(finding.sessions),
        "before": _number(finding.before),
        "after": _number(finding.after),
        "p": finding.p,
        "change": None,
        "interval90": None,
        "interval95": None,
    }
    if size is not None:
        made["change"] = math.expm1(size.log_ratio)
        made["interval90"] = [math.expm1(value) for value in size.interval90]
        made["interval95"] = [math.expm1(value) for value in size.interval95]
    made["boundary"] = None
    if finding.boundary is not None and location is not None:
        made["boundary"] = {
            "day": _day(finding.boundary.day),
            "earliest": _day(location.earliest),
            "latest": _day(location.latest),
            "label": finding.boundary.label,
            "value": finding.boundary.value,
        }
    power = finding.power
    made["power"] = power and {
        "sigma": float(power.sigma),
        "smallest_drop": power.drop,
        "more_for_30": power.more_for_30,
        "more_to_hold": power.more_to_hold,
    }
    rare = finding.rare
    made["events"] = rare and {
        "before": rare.before,
        "after": rare.after,
        "of": [rare.exposure_before, rare.exposure_after],
    }
    made["attribution"] = _attribution(finding.attribution) if finding.attribution else None
    return made


def _attribution(found: Attribution) -> dict[str, Any]:
    def part(entry: Part | None) -> dict[str, Any] | None:
        return {"log_ratio": entry.log_ratio, "interval95": list(entry.interval95)} if entry else None

    return {
        "label": found.label,
        "why": found.why,
        "composition": part(found.composition),
        "rate": part(found.rate),
        "not_comparable": found.incomparable,
    }


def _named(entry: Named) -> dict[str, Any]:
    return {
        "label": entry.label,
        "value": entry.value,
        "first_day": entry.first_day.isoformat(),
        "sessions": list(entry.sessions),
        "metric": entry.metric,
        "change": math.expm1(entry.size.log_ratio),
        "interval95": [math.expm1(value) for value in entry.size.interval95],
        "p": entry.p,
        "q": entry.q,
        "different": entry.is_different,
    }


def _search(judgement: Judgement) -> dict[str, Any]:
    found = judgement.search
    return {
        "permutations": judgement.effort.permutations,
        "seed": judgement.effort.seed,
        "dates": len(found.candidates.days),
        "labels": len(judgement.prepared.new_values),
        "metrics": len(judgement.prepared.searched),
        "critical": _number(found.critical()),
        "block_days": found.block_days,
        "testable": found.is_testable,
    }


def _placebo(judgement: Judgement) -> dict[str, Any] | None:
    found = judgement.placebo
    if found is None:
        return None
    return {
        "runs": found.runs,
        "alarms": found.alarms,
        "interval": list(found.interval),
        "calibrated": found.is_calibrated,
        "planted": [{"drop": drop, "found": hits, "of": runs} for drop, (hits, runs) in found.found.items()],
    }


def _incident(entry: incidents.Tested) -> dict[str, Any]:
    return {
        "name": entry.incident.name,
        "from": entry.incident.start.isoformat(),
        "to": entry.incident.end.isoformat(),
        "source": entry.incident.source,
        "metric": entry.incident.metric,
        "sessions": [entry.inside, entry.outside],
        "change": math.expm1(entry.log_ratio) if entry.p is not None else None,
        "p": entry.p,
        "seen": entry.is_seen,
        "why": entry.why,
    }


def _controls(judgement: Judgement) -> list[dict[str, Any]]:
    """Return what a change of the agent should leave alone, before and after (medians), with permutation p-values."""
    table, boundary = judgement.prepared.table, judgement.boundary
    found = []
    for name, title in _CONTROLS.items():
        given = np.array([session.covariates.get(name, np.nan) for session in table.sessions])
        rows = boundary.rows & np.isfinite(given)
        sides = given[rows & ~boundary.after], given[rows & boundary.after]
        if not len(sides[0]) or not len(sides[1]):
            continue
        _, p = difference(np.log1p(given[rows]), boundary.after[rows], table.strata[rows])
        medians = {"before": float(np.median(sides[0])), "after": float(np.median(sides[1]))}
        found.append({"name": name, "title": title, **medians, "p": p})
    return found


def _timeline(table: Table) -> list[dict[str, Any]]:
    """Return for each active day its sessions and each metric's value: numerators over exposures."""
    days = []
    for ordinal in np.unique(table.days):
        rows = table.days == ordinal
        y, exposure = table.numerators[rows].sum(axis=0), table.exposures[rows].sum(axis=0)
        values = {
            metric.name: float(y[place] / exposure[place])
            for place, metric in enumerate(table.metrics)
            if metric.is_headline and exposure[place] > 0
        }
        days.append({"day": _day(int(ordinal)), "sessions": int(rows.sum()), "values": values})
    return days


def _values(table: Table) -> list[dict[str, Any]]:
    """Return each value of a label with its first and last day and its sessions."""
    found = []
    for label in ("model", "version", "effort", "permission", "entrypoint"):
        values = table.labels(label)
        for value, number in Counter(values).most_common():
            if value in ("", MIXED):
                continue
            days = table.days[[entry == value for entry in values]]
            first, last = _day(int(days.min())), _day(int(days.max()))
            found.append({"label": label, "value": value, "sessions": number, "first_day": first, "last_day": last})
    return found


def window_of_days(days: int, until: date) -> Window:
    """Return the window of the last `days` days up to and with `until`."""
    return Window(until - timedelta(days=days - 1), until)
