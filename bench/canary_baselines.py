"""Rules by which other tools decide that a coding agent has changed, made anew, to be run on the same sessions as ours.

Each is a function of sessions and of its own thresholds, and returns a `Verdict`.  What is not published of a rule is a
knob, named with what was assumed; metrics are ours, because what is compared is the decision.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.canary_two_samples import least_mann_whitney_p, mann_whitney_p, welch_p
from seatrial.canary.features import MIXED, Features
from seatrial.canary.metrics import BY_NAME
from seatrial.canary.rare import can_be_tested, false_discoveries, fisher_p
from seatrial.canary.table import Floats, Integers, day_of

_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DAY = 86400.0

COMPOSITE: Mapping[str, int] = {
    "reads_per_edit": 1,
    "rewrites": -1,
    "loops": -1,
    "output_per_prompt": -1,
    "calls_per_prompt": -1,
    "corrections": -1,
}
"""Metrics of the composite score of cc-canary, and whether more is better (1) or worse (-1)."""
FINDER_METRICS = (
    *("reads_per_edit", "research_per_change", "blind_edits", "errors", "interrupts", "corrections", "rewrites"),
    *("calls_per_prompt", "output_per_prompt", "loops", "early_stops"),
)
VIGIL_METRICS = ("reads_per_edit", "loops", "early_stops", "thinking_per_call", "signature_length")
OBSERVATORY_METRICS = (
    *("blind_edits", "rewrites", "interrupts", "signature_length", "calls_per_prompt", "reads_per_edit", "errors"),
    *("loops", "corrections"),
)


@dataclass(frozen=True)
class Finding:
    """One thing that a rule calls a change.

    `at` is seconds since 1970 in UTC, where what comes after begins; `effect` is the logarithm of the ratio of after to
    before, but for cc-canary the difference in standard deviations of the composite; `p` is 0 where a rule has none.
    """

    metric: str
    at: float
    effect: float
    p: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What a rule says: whether it fires, the word that it would print, and the findings, the strongest first."""

    fires: bool
    word: str
    findings: tuple[Finding, ...] = ()

    @property
    def at(self) -> float | None:
        """When the strongest change was, in seconds since 1970."""
        return self.findings[0].at if self.fires and self.findings else None


Rule = Callable[[Sequence[Features]], Verdict]


def cc_canary(
    sessions: Sequence[Features],
    *,
    floor: float = 0.75,
    confirmed: float = 1.0,
    days_a_side: int = 3,
    fewest_sessions: int = 15,
    calls_a_day: int = 5,
    composite: Mapping[str, int] = COMPOSITE,
) -> Verdict:
    """Take the day at which the mean of a daily composite score jumps most, whatever the direction.

    The composite is the mean of the z-scores of daily metrics (sums over the day, days with few tool calls left out);
    the jump is measured in standard deviations of the composite.  The original lets a language model choose the word
    from this and other signals; here the jump and the number of sessions decide.  Not published: the weights, taken as
    equal, and how many days a side must have.
    """
    judged = judged_in_order(sessions)
    days, scores = daily_composite(judged, calls_a_day, composite)
    split, gap = largest_gap(scores, days_a_side)
    if len(judged) < fewest_sessions or split == 0 or abs(gap) < floor:
        return Verdict(False, "HOLDING" if len(judged) >= fewest_sessions and split else "INCONCLUSIVE")
    word = "CONFIRMED REGRESSION" if abs(gap) >= confirmed else "SUSPECTED REGRESSION"
    return Verdict(True, word, (Finding("composite", _seconds(days[split]), gap),))


def daily_composite(
    sessions: Sequence[Features], calls_a_day: int, composite: Mapping[str, int]
) -> tuple[Integers, Floats]:
    """Return days [d] with enough tool calls, in order, and the mean of their z-scores [d].

    A metric that a day says nothing of is left out of that day's mean; a day without any is left out.
    """
    of_session = np.array([day_of(session.start) for session in sessions], dtype=np.int64)
    calls = np.array([session.calls for session in sessions], dtype=np.float64)
    days = np.array(
        [day for day in np.unique(of_session) if calls[of_session == day].sum() >= calls_a_day], dtype=np.int64
    )
    if not days.size:
        return days, np.zeros(0)
    scores = []
    for metric, sign in composite.items():
        ratios = _daily_ratio(sessions, of_session, days, metric)
        seen = ratios[~np.isnan(ratios)]
        spread = float(seen.std()) if seen.size else 0.0
        if spread > 0:
            scores.append(sign * (ratios - seen.mean()) / spread)
    if not scores:
        return days[:0], np.zeros(0)
    stacked = np.array(scores)
    has_any = ~np.isnan(stacked).all(axis=0)
    return days[has_any], np.nanmean(stacked[:, has_any], axis=0)


def largest_gap(series: Floats, a_side: int) -> tuple[int, float]:
    """Return where the means of a series [d] before and after differ most, and by how many of its deviations.

    The place is the first after the jump, 0 where no place has `a_side` values on both sides.
    """
    size = series.size
    spread = float(series.std()) if size else 0.0
    places = np.arange(a_side, size - a_side + 1)
    if not places.size or spread <= 0:
        return 0, 0.0
    sums = np.cumsum(series)
    gaps = (sums[-1] - sums[places - 1]) / (size - places) - sums[places - 1] / places
    best = int(np.abs(gaps).argmax())
    return int(places[best]), float(gaps[best]) / spread


def regression_finder(
    sessions: Sequence[Features],
    *,
    metrics: Sequence[str] = FINDER_METRICS,
    labels: Sequence[str] = ("model", "version"),
    by_week: bool = True,
    p: float = 0.01,
    effect: float = 0.2,
    a_side: int = 20,
) -> Verdict:
    """Compare all sessions before with all from each boundary on: first days of labels, and Mondays.

    Values of sessions are compared by Mann and Whitney's test, rare events by Fisher's of sessions with any.  Tests
    that cannot be significant are left out (Tarone) before the false discovery rate is controlled (Benjamini–Hochberg)
    over boundaries and metrics.  Not published: whether sides are everything or neighbouring spans.
    """
    judged = judged_in_order(sessions)
    starts = np.array([session.start for session in judged])
    tests: list[Finding] = []
    least: list[float] = []
    for at in boundaries(judged, labels, by_week):
        after = starts >= at
        if min(after.sum(), (~after).sum()) < a_side:
            continue
        for metric in metrics:
            values = of_sessions(judged, metric)
            known = ~np.isnan(values)
            one, two = values[known & ~after], values[known & after]
            if min(one.size, two.size) >= a_side:
                compare = _fisher if BY_NAME[metric].family == "rare" else _mann_whitney
                found, smallest = compare(one, two)
                tests.append(Finding(metric, at, _log_ratio(one, two, metric), found))
                least.append(smallest)
    testable = can_be_tested(least, p) or [False] * len(tests)
    chosen = [test for test, is_testable in zip(tests, testable, strict=True) if is_testable]
    adjusted = false_discoveries([test.p for test in chosen])
    found_all = [
        Finding(test.metric, test.at, test.effect, value)
        for test, value in zip(chosen, adjusted, strict=True)
        if value < p and _is_large(test.effect, effect)
    ]
    found_all.sort(key=lambda finding: finding.p)
    return Verdict(bool(found_all), "changed" if found_all else "no change found", tuple(found_all))


def boundaries(sessions: Sequence[Features], labels: Sequence[str], by_week: bool) -> list[float]:
    """Return when something new begins, in order: the first days of labels' values, and Mondays."""
    found = set()
    for label in labels:
        first: dict[str, int] = {}
        for session in sessions:
            value = session.labels.get(label, "")
            if value and value != MIXED:
                first.setdefault(value, day_of(session.start))
        found |= set(first.values())
    if by_week and sessions:
        days = [day_of(session.start) for session in sessions]
        found |= {day for day in range(min(days), max(days) + 1) if datetime.date.fromordinal(day).weekday() == 0}
    return [_seconds(day) for day in sorted(found)]


def codevigil(
    sessions: Sequence[Features],
    *,
    metrics: Sequence[str] = VIGIL_METRICS,
    pivot: float | None = None,
    alpha: float = 0.05,
    fewest: int = 5,
) -> Verdict:
    """Compare the means of sessions before and from `pivot` on (seconds since 1970; the middle session if None).

    Welch's t-test for each metric, without a correction for their number.
    """
    judged = judged_in_order(sessions)
    if not judged:
        return Verdict(False, "not enough data")
    at = judged[len(judged) // 2].start if pivot is None else pivot
    after = np.array([session.start >= at for session in judged])
    found = []
    for metric in metrics:
        values = of_sessions(judged, metric)
        known = ~np.isnan(values)
        one, two = values[known & ~after], values[known & after]
        if min(one.size, two.size) >= fewest:
            value = welch_p(one, two)
            if value < alpha:
                found.append(Finding(metric, at, _log_ratio(one, two, metric), value))
    found.sort(key=lambda finding: finding.p)
    return Verdict(bool(found), "significant" if found else "not significant", tuple(found))


def agent_observatory(
    sessions: Sequence[Features],
    *,
    metrics: Sequence[str] = OBSERVATORY_METRICS,
    alpha: float = 0.05,
    permutations: int = 999,
    fewest_days: int = 6,
    seed: int = 0,
) -> Verdict:
    """Find the day at which the sum of deviations from the mean of a daily series is farthest from zero.

    Its p-value comes from shuffling the days, as if they were independent; each metric by itself, without a correction
    for their number.
    """
    judged = judged_in_order(sessions)
    of_session = np.array([day_of(session.start) for session in judged], dtype=np.int64)
    random = np.random.default_rng(seed)
    found = []
    for metric in metrics:
        days = np.unique(of_session)
        series = _daily_ratio(judged, of_session, days, metric)
        days, series = days[~np.isnan(series)], series[~np.isnan(series)]
        if series.size < fewest_days:
            continue
        place, value = cumulative_jump(series, permutations, random)
        if value < alpha:
            effect = _log_ratio(series[:place], series[place:], metric)
            found.append(Finding(metric, _seconds(days[place]), effect, value))
    found.sort(key=lambda finding: finding.p)
    return Verdict(bool(found), "change point" if found else "no change point", tuple(found))


def cumulative_jump(series: Floats, permutations: int, random: np.random.Generator) -> tuple[int, float]:
    """Return the first place after the jump of a series [d], and the p-value of its size among shuffled series."""
    centred = series - series.mean()
    sums = np.abs(np.cumsum(centred)[:-1])
    shuffled = random.permuted(np.tile(centred, (permutations, 1)), axis=1)
    largest = np.abs(np.cumsum(shuffled, axis=1)[:, :-1]).max(axis=1)
    at_least = int((largest >= sums.max() * (1 - 1e-12)).sum())
    return int(sums.argmax()) + 1, (at_least + 1) / (permutations + 1)


RULES: Mapping[str, Rule] = {
    "cc-canary": cc_canary,
    "regression-finder": regression_finder,
    "codevigil": codevigil,
    "agent-observatory": agent_observatory,
}
"""Every rule with what is published of its thresholds."""


def judged_in_order(sessions: Sequence[Features]) -> list[Features]:
    """Return the sessions that are not excluded, in the order of their start."""
    return sorted((session for session in sessions if not session.excluded), key=lambda s: (s.start, s.session))


def of_sessions(sessions: Sequence[Features], metric: str) -> Floats:
    """Return numerator over exposure [s] of a metric; not a number where a session says nothing of it."""
    totals = np.array([session.total(metric) for session in sessions], dtype=np.float64).reshape(len(sessions), 2)
    return _ratio(totals[:, 0], totals[:, 1])


def _daily_ratio(sessions: Sequence[Features], of_session: Integers, days: Integers, metric: str) -> Floats:
    totals = np.array([session.total(metric) for session in sessions], dtype=np.float64).reshape(len(sessions), 2)
    sums = np.array([totals[of_session == day].sum(axis=0) for day in days]).reshape(len(days), 2)
    return _ratio(sums[:, 0], sums[:, 1])


def _ratio(numerators: Floats, exposures: Floats) -> Floats:
    found = np.full(numerators.shape, np.nan)
    np.divide(numerators, exposures, out=found, where=exposures > 0)
    return found


def _mann_whitney(before: Floats, after: Floats) -> tuple[float, float]:
    return mann_whitney_p(before, after), least_mann_whitney_p(np.concatenate([before, after]), before.size)


def _fisher(before: Floats, after: Floats) -> tuple[float, float]:
    with_any = int((before > 0).sum()), int((after > 0).sum())
    total = sum(with_any)
    extremes = (max(0, total - before.size), min(total, after.size))
    least = min(fisher_p(x, after.size, total - x, before.size) for x in extremes)
    return fisher_p(with_any[1], after.size, with_any[0], before.size), least


def _log_ratio(before: Floats, after: Floats, metric: str) -> float:
    """Of medians, or of shares of sessions with any for a rare event; of means where a median is 0."""
    if BY_NAME[metric].family == "rare":
        sides = [float((side > 0).mean()) for side in (before, after)]
    else:
        sides = [float(np.median(side)) for side in (before, after)]
        if min(sides) <= 0:
            sides = [float(side.mean()) for side in (before, after)]
    if min(sides) <= 0:
        return 0.0 if max(sides) <= 0 else math.copysign(math.inf, sides[1] - sides[0])
    return math.log(sides[1] / sides[0])


def _is_large(effect: float, least: float) -> bool:
    return abs(math.expm1(effect)) >= least if math.isfinite(effect) else True


def _seconds(day: int | np.int64) -> float:
    return (int(day) - _EPOCH) * _DAY
