"""From sessions to a verdict: the search, the sizes, the states, where a change comes from, and the calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from seatrial.canary import attribution, formats, named, null, placebo, power, scan, search
from seatrial.canary.effect import Location, Size, resampled, searched_size, size_at
from seatrial.canary.features import Features
from seatrial.canary.rare import RareTest, can_be_tested, compare_rare
from seatrial.canary.search import Prepared
from seatrial.canary.suspects import suspects_at
from seatrial.canary.table import Flags, Floats
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
    """Everything that was found; `day` is the boundary that is shown, found (`is_searched`) or the middle."""

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...]
    standing: Standing
    day: int
    is_searched: bool
    location: Location | None
    named: tuple[named.Named, ...]
    by_work: tuple[str, ...]
    """Metrics that moved, but not once what was asked for is taken into account."""
    by_format: tuple[formats.Switch, ...]
    placebo: placebo.Placebo | None
    search: scan.Scan
    prepared: Prepared
    effort: Effort


def judge(sessions: Sequence[Features], effort: Effort | None = None) -> Judgement:
    """Judge the sessions that are not excluded, in the order of their start."""
    return _Judge(search.prepare(sessions), effort or Effort()).run()


class _Judge:
    def __init__(self, prepared: Prepared, effort: Effort) -> None:
        self.prepared, self.effort = prepared, effort
        self.table, self.residuals = prepared.table, prepared.residuals
        self.random = np.random.default_rng(effort.seed)
        self.scan = search.search(prepared, effort.permutations, self.random)
        self.draws = resampled(self.table.strata, effort.draws, self.random)
        self.middle = self.table.days >= self.table.days[self.table.size // 2] if self.table.size else np.zeros(0, bool)

    def run(self) -> Judgement:
        significant = self._significant()
        strongest = max(significant, key=lambda column: abs(self._statistic(column)), default=None)
        location = significant[strongest][1] if strongest is not None else None
        after = self.table.days >= location.day if location else self.middle
        compared = self._named()
        findings = [self._finding(column, significant, after, compared) for column in range(len(self.table.metrics))]
        findings = _rare_that_can_be_tested(findings)
        calibration = None
        if self.effort.placebos:
            runs = self.effort.placebos, self.effort.plants
            calibration = placebo.calibrate(self.prepared, self.scan, *runs, self.random)
        standing = self._standing(after, calibration)
        verdict, reason = conclude(findings, standing)
        day = int(self.table.days[after].min()) if after.any() else 0
        return Judgement(
            verdict, reason, tuple(findings), standing, day, location is not None, location, tuple(compared),
            self._explained_by_work(significant), self.prepared.formats.switches, calibration, self.scan, self.prepared,
            self.effort,
        )  # fmt: skip

    def _statistic(self, column: int) -> float:
        place = self.prepared.searched.index(column)
        return float(self.scan.statistics[self.scan.best(place), place])

    def _significant(self) -> dict[int, tuple[Size, Location]]:
        """Return size and location of each metric that moved by the search."""
        found = {}
        if self.scan.is_testable:
            for place, column in enumerate(self.prepared.searched):
                if self.scan.adjusted(self._statistic(column)) <= ALPHA:
                    found[column] = searched_size(
                        self.table,
                        self.residuals,
                        column,
                        self.prepared.scores[:, column],
                        self.effort.draws,
                        self.random,
                    )
                    del place
        return found

    def _named(self) -> list[named.Named]:
        count = max(199, self.effort.permutations)
        columns = self.prepared.searched
        return named.compare(
            self.table, self.residuals, self.prepared.scores, columns, self.draws, count, self.random
        )

    def _finding(
        self,
        column: int,
        significant: dict[int, tuple[Size, Location]],
        after: Flags,
        compared: Sequence[named.Named],
    ) -> Finding:
        metric = self.table.metrics[column]
        if column in significant:
            after = self.table.days >= significant[column][1].day
        has = self.table.exposures[:, column] > 0
        sessions = int((has & ~after).sum()), int((has & after).sum())
        before, later = self._value(column, ~after), self._value(column, after)
        base = Finding(metric, "UNRESOLVED", "", sessions, before, later)
        if metric.family == "rare":
            test = compare_rare(self.table.numerators[:, column], self.table.exposures[:, column], after.tolist())
            return replace(base, rare=test, p=test.p)
        obstacle = self._untestable(column, sessions, after)
        if obstacle:
            return replace(base, state="NOT TESTABLE", why=obstacle)
        half = size_at(self.table, self.residuals, column, self.middle, self.draws)
        if column not in self.prepared.searched:
            return replace(base, size=size_at(self.table, self.residuals, column, after, self.draws))
        statistic = self._statistic(column) if self.scan.is_testable else 0.0
        p = self.scan.adjusted(statistic) if self.scan.is_testable else 1.0
        sizes = [half, *(entry.size for entry in compared if entry.metric == metric.name)]
        searched = significant.get(column)
        shown = searched[0] if searched else size_at(self.table, self.residuals, column, after, self.draws)
        state = state_of(p=p, searched=searched[0] if searched else None, halves=sizes)
        best = int(self.scan.candidates.days[self.scan.best(self.prepared.searched.index(column))]) if searched else 0
        made = replace(
            base, state=state, size=shown, p=p, day=best, location=searched[1] if searched else None,
            power=self._power(column, sessions),
        )  # fmt: skip
        return self._attributed(made, column) if searched and state == "CHANGED" else made

    def _attributed(self, finding: Finding, column: int) -> Finding:
        assert finding.location is not None
        found = attribution.attribute(
            self.table, self.residuals, self.prepared.scores, column, finding.location, self.draws
        )
        is_same = not suspects_at(self.table, column, finding.location).moved["model"]
        return with_attribution(finding, found, is_same_model=is_same)

    def _untestable(self, column: int, sessions: tuple[int, int], after: Flags) -> str:
        if min(sessions) < FEWEST_A_SIDE:
            return f"{sessions[0]} sessions before and {sessions[1]} after say something of it"
        if not self.residuals.known[:, column].any():
            return "it is the same in all sessions"
        if self.prepared.formats.differs(column, after):
            gone = [s.field for s in self.prepared.formats.switches if self.table.metrics[column].name in s.metrics]
            return f"the log's format changed ({', '.join(gone)})"
        return ""

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

    def _standing(self, after: Flags, calibration: placebo.Placebo | None) -> Standing:
        informative = 0
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
        return Standing(
            size, int((~after).sum()), int(after.sum()), informative / size if size else 0.0, tuple(reasons)
        )

    def _explained_by_work(self, significant: dict[int, tuple[Size, Location]]) -> tuple[str, ...]:
        """Return the metrics that would have moved, had nobody looked at what was asked for."""
        if not self.scan.is_testable or not self.table.covariates.shape[1]:
            return ()
        plain = search.of_table(replace(self.table, covariates=np.zeros((self.table.size, 0))))
        strongest = self._strongest(plain.chosen)
        return tuple(
            self.table.metrics[column].name
            for place, column in enumerate(plain.searched)
            if column not in significant and self.scan.adjusted(float(strongest[place])) <= ALPHA
        )

    def _strongest(self, scores: Floats) -> Floats:
        found: Floats = np.abs(scan.statistics(scores, self.table.strata, self.scan.candidates)).max(axis=0)
        return found


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


__all__ = ["Effort", "Judgement", "judge", "null"]
