"""From sessions to a verdict: the search, the sizes, the states, where a change comes from, and the calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from seatrial.canary import attribution, formats, named, null, placebo, power, scan, search
from seatrial.canary.boundary import Boundary, at_date
from seatrial.canary.effect import Location, Size, resampled, searched_size, size_at
from seatrial.canary.features import Features
from seatrial.canary.rare import RareTest, can_be_tested, compare_rare
from seatrial.canary.search import Prepared
from seatrial.canary.suspects import suspects_at
from seatrial.canary.table import Flags
from seatrial.canary.verdict import (
    ALPHA,
    FEWEST_A_SIDE,
    RELEVANT,
    Finding,
    Standing,
    Verdict,
    conclude,
    direction_of,
    state_of,
    with_attribution,
)

_ALIKE = 0.85
_LACKING = 0.1
_MANY, _DRAWS_OF_MANY = 4000, 200
_LACKS = {"usage": "the logs hold no final counts of tokens"}


@dataclass(frozen=True)
class Effort:
    """How much is computed: permutations of the search, draws of the intervals, placebos and plants."""

    permutations: int = 1999
    draws: int = 500
    placebos: int = 200
    plants: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Judgement:
    """Everything that was found; `boundary` is where it was, or the middle of the history when there is none."""

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...]
    standing: Standing
    boundary: Boundary
    location: Location | None
    """Where the change lies; None when none was found."""
    named: tuple[named.Named, ...]
    by_work: tuple[str, ...]
    """Metrics that moved, but not once what was asked for is taken into account."""
    by_format: tuple[formats.Switch, ...]
    placebo: placebo.Placebo | None
    search: scan.Scan
    prepared: Prepared
    effort: Effort


@dataclass(frozen=True)
class _Change:
    boundary: Boundary
    size: Size
    location: Location


def judge(sessions: Sequence[Features], effort: Effort | None = None) -> Judgement:
    """Judge the sessions that are not excluded, in the order of their start."""
    return _Judge(search.prepare(sessions), effort or Effort()).run()


class _Judge:
    def __init__(self, prepared: Prepared, effort: Effort) -> None:
        self.prepared, self.effort = prepared, effort
        self.table, self.residuals = prepared.table, prepared.residuals
        self.random = np.random.default_rng(effort.seed)
        self.scan = search.search(prepared, effort.permutations, self.random)
        # An interval of many sessions is as sharp with fewer draws.
        draws = effort.draws if self.table.size <= _MANY else min(effort.draws, _DRAWS_OF_MANY)
        self.draws = resampled(self.table.strata, draws, self.random)
        self.middle = at_date(self.table, int(self.table.days[self.table.size // 2]) if self.table.size else 0)

    def run(self) -> Judgement:
        moved = {column: self._change(column) for column in self.prepared.searched if self._p(column) <= ALPHA}
        strongest = max(moved, key=lambda column: abs(self._strongest_of(column)[0]), default=None)
        shown = moved[strongest] if strongest is not None else None
        boundary = shown.boundary if shown else self.middle
        compared = self._named()
        findings = [self._finding(column, moved, boundary, compared) for column in range(len(self.table.metrics))]
        findings = _rare_that_can_be_tested(findings)
        calibration = None
        if self.effort.placebos:
            runs = self.effort.placebos, self.effort.plants
            calibration = placebo.calibrate(self.prepared, self.scan, *runs, self.random)
        standing = self._standing(boundary, calibration)
        verdict, reason = conclude(findings, standing)
        return Judgement(
            verdict, reason, tuple(findings), standing, boundary, shown.location if shown else None, tuple(compared),
            self._explained_by_work(moved), self.prepared.formats.switches, calibration, self.scan, self.prepared,
            self.effort,
        )  # fmt: skip

    def _strongest_of(self, column: int) -> tuple[float, Boundary]:
        """Return a metric's largest statistic and where it is: at a date, or at a label's new value."""
        if not self.scan.is_testable:
            return 0.0, self.middle
        place = self.prepared.searched.index(column)
        best = self.scan.best(place)
        by_date = float(self.scan.statistics[best, place])
        by_label = self.scan.of_labels[:, place]
        if len(by_label) and np.abs(by_label).max() > abs(by_date):
            largest = float(by_label[int(np.argmax(np.abs(by_label)))])
            # Of the values that explain it about as well, the one that came first: a version comes with its model.
            alike = np.flatnonzero(by_label / largest >= _ALIKE)
            first = min(alike, key=lambda index: (self.prepared.new_values[index].day, index))
            return largest, self.prepared.new_values[int(first)]
        return by_date, at_date(self.table, int(self.scan.candidates.days[best]))

    def _p(self, column: int) -> float:
        return self.scan.adjusted(self._strongest_of(column)[0]) if self.scan.is_testable else 1.0

    def _change(self, column: int) -> _Change:
        boundary = self._strongest_of(column)[1]
        if boundary.label:
            size = self._size(column, boundary)
            before = self.table.days[self.table.days < boundary.day]
            return _Change(boundary, size, Location(boundary.day, int(before.max()), boundary.day))
        scores = self.prepared.scores[:, column]
        fitted = null.fit(self.table, [column], boundary.after)
        size, location = searched_size(self.table, fitted, column, scores, len(self.draws), self.random)
        return _Change(at_date(self.table, location.day), size, location)

    def _size(self, column: int, boundary: Boundary) -> Size:
        fitted = null.fit(self.table, [column], boundary.after)
        return size_at(self.table, fitted, column, boundary.after, self.draws, boundary.rows)

    def _named(self) -> list[named.Named]:
        count = max(199, self.effort.permutations)
        return named.compare(
            self.table, self.residuals, self.prepared.scores, self.prepared.searched, self.prepared.labelled,
            self.draws, count, self.random,
        )  # fmt: skip

    def _finding(
        self, column: int, moved: dict[int, _Change], boundary: Boundary, compared: Sequence[named.Named]
    ) -> Finding:
        metric, change = self.table.metrics[column], moved.get(column)
        boundary = change.boundary if change else boundary
        before, after = boundary.rows & ~boundary.after, boundary.after
        has = self.table.exposures[:, column] > 0
        sessions = int((has & before).sum()), int((has & after).sum())
        base = Finding(metric, "UNRESOLVED", "", sessions, self._value(column, before), self._value(column, after))
        if metric.family == "rare":
            rows = np.flatnonzero(boundary.rows)
            numbers = self.table.numerators[rows, column].tolist(), self.table.exposures[rows, column].tolist()
            test = compare_rare(*numbers, after[rows].tolist())
            return replace(base, rare=test, p=test.p)
        obstacle = self._untestable(column, sessions, after)
        if obstacle:
            return replace(base, state="NOT TESTABLE", why=obstacle)
        here = change.size if change else self._size(column, boundary)
        if column not in self.prepared.searched:
            return replace(base, size=here)
        half = self._size(column, self.middle)
        sizes = [half, *(entry.size for entry in compared if entry.metric == metric.name)]
        p = self._p(column)
        state = state_of(p=p, searched=change.size if change else None, halves=sizes)
        made = replace(
            base, state=state, size=here, p=p, boundary=boundary if change else None,
            location=change.location if change else None, power=self._power(column, sessions),
        )  # fmt: skip
        return self._attributed(made, column, change) if change and state == "CHANGED" else made

    def _attributed(self, finding: Finding, column: int, change: _Change) -> Finding:
        where = change.boundary, change.location
        found = attribution.attribute(self.table, self.residuals, self.prepared.scores, column, *where, self.draws)
        parts = [part.log_ratio for part in (found.composition, found.rate) if part is not None]
        if parts and max(map(abs, parts)) < RELEVANT:
            # What is left once covariates are taken off is large, but neither kind of work nor rate moved by as much:
            # date and covariates cannot be told apart.
            return replace(finding, state="UNRESOLVED")
        is_same = not suspects_at(self.table, column, *where).moved["model"]
        return with_attribution(finding, found, is_same_model=is_same)

    def _untestable(self, column: int, sessions: tuple[int, int], after: Flags) -> str:
        lacking = [name for name in self.table.metrics[column].fields if self._share_with(name) < _LACKING]
        if lacking:
            return _LACKS.get(lacking[0], f"the logs do not say it ({lacking[0]})")
        if min(sessions) < FEWEST_A_SIDE:
            return f"{sessions[0]} sessions before and {sessions[1]} after say something of it"
        if not self.residuals.known[:, column].any():
            return "it is the same in all sessions"
        if self.prepared.formats.differs(column, after):
            gone = [s.field for s in self.prepared.formats.switches if self.table.metrics[column].name in s.metrics]
            if not gone:
                return f"logs of different formats ({', '.join(self.table.metrics[column].fields)})"
            return f"the log's format changed ({', '.join(gone)})"
        return ""

    def _share_with(self, field: str) -> float:
        has = [field in session.fields for session in self.table.sessions]
        return sum(has) / len(has) if has else 1.0

    def _value(self, column: int, side: Flags) -> float:
        """Return a metric's value on one side, large sessions weighing less; for sizes the geometric mean."""
        y, exposure = self.table.numerators[side, column], self.table.exposures[side, column]
        if self.table.metrics[column].family == "size":
            usable = (y > 0) & (exposure > 0)
            return float(np.exp(np.log(y[usable] / exposure[usable]).mean())) if usable.any() else float("nan")
        weight = self.residuals.weights[side, column]
        weight = weight if weight.any() else np.ones_like(y)
        total = float((weight * exposure).sum())
        return float((weight * y).sum()) / total if total else float("nan")

    def _power(self, column: int, sessions: tuple[int, int]) -> power.Power | None:
        dates = self.scan.candidates
        if not len(dates.days) or not len(self.scan.largest):
            return None
        at = len(dates.days) // 2
        middle = scan.Candidates(dates.days[[at]], dates.firsts[[at]], dates.spread[[at]])
        sigma = power.sigma_of(self.table, self.residuals, column, middle)
        if not np.isfinite(sigma):
            return None
        return power.power_of(sigma, *sessions, self.scan.critical(ALPHA), RELEVANT)

    def _standing(self, boundary: Boundary, calibration: placebo.Placebo | None) -> Standing:
        informative, after = 0, boundary.after
        for stratum in np.unique(self.table.strata):
            rows = self.table.strata == stratum
            informative += int(rows.sum()) if 0 < after[rows].sum() < rows.sum() else 0
        reasons = []
        if not self.scan.is_testable:
            days = len(np.unique(self.table.days))
            reasons.append(
                f"days resemble the days before, and {days} active days are too few to allow for that"
                if self.scan.block_days and len(self.scan.candidates.days)
                else f"no date has {scan.SESSIONS_A_SIDE} sessions and {scan.DAYS_A_SIDE} active days on both sides"
            )
        if calibration and not calibration.is_calibrated:
            low, high = calibration.interval
            reasons.append(
                f"placebos on this history gave {calibration.alarms} false alarms in {calibration.runs}"
                f" ({low:.0%} to {high:.0%}): it cannot be calibrated"
            )
        size = self.table.size
        return Standing(size, *boundary.counts, informative / size if size else 0.0, tuple(reasons))

    def _explained_by_work(self, moved: dict[int, _Change]) -> tuple[str, ...]:
        """Return the metrics that would have moved, had nobody looked at what was asked for."""
        if not self.scan.is_testable or not self.table.covariates.shape[1]:
            return ()
        plain = search.of_table(replace(self.table, covariates=np.zeros((self.table.size, 0))))
        found = scan.statistics(plain.chosen, self.table.strata, self.scan.candidates)
        strongest = np.abs(found).max(axis=0)
        return tuple(
            self.table.metrics[column].name
            for place, column in enumerate(plain.searched)
            if column not in moved and self.scan.adjusted(float(strongest[place])) <= ALPHA
        )


def _rare_that_can_be_tested(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with the states of rare events: those that could not be significant are not tested."""
    rare = [finding for finding in findings if finding.rare is not None]
    tests: list[RareTest] = [finding.rare for finding in rare if finding.rare is not None]
    testable = can_be_tested([test.least_p for test in tests], ALPHA)
    number = max(1, sum(testable))
    made: dict[str, Finding] = {}
    for finding, test, can in zip(rare, tests, testable or [False] * len(rare), strict=True):
        if not can:
            why = f"{test.before:.0f} and {test.after:.0f} events are too few"
            made[finding.metric.name] = replace(finding, state="NOT TESTABLE", why=why)
            continue
        p = min(1.0, test.p * number)
        before, after = test.before / test.exposure_before, test.after / test.exposure_after
        direction = direction_of(finding.metric, 1.0 if after > before else -1.0, is_same_model=True)
        is_changed = p <= ALPHA
        made[finding.metric.name] = replace(
            finding, state="CHANGED" if is_changed else "UNRESOLVED", p=p,
            direction=direction if is_changed else "neutral",
        )  # fmt: skip
    return [made.get(finding.metric.name, finding) for finding in findings]
