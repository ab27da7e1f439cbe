"""What is concluded, and by which rules.  Nothing here is written by a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from seatrial.canary.boundary import Boundary
from seatrial.canary.effect import Location, Size
from seatrial.canary.metrics import Metric
from seatrial.canary.power import Power
from seatrial.canary.rare import RareTest

ALPHA = 0.05
RELEVANT = math.log(1.25)
"""A ratio between 0.80 and 1.25 is no relevant change."""
FEWEST_SESSIONS, FEWEST_A_SIDE, INFORMATIVE_SHARE, FEWEST_TO_HOLD = 20, 10, 0.5, 3

Verdict = Literal["REGRESSED", "IMPROVED", "CHANGED", "HOLDING", "INCONCLUSIVE"]
State = Literal["CHANGED", "EQUIVALENT", "NEGLIGIBLE", "NOT TESTABLE", "UNRESOLVED"]
Label = Literal["MODEL", "HARNESS", "MODEL or HARNESS", "USER", "FORMAT", "UNEXPLAINED", "cannot tell"]


@dataclass(frozen=True)
class Part:
    """A part of a change as a log ratio, with its 95 % interval."""

    log_ratio: float
    interval95: tuple[float, float]


@dataclass(frozen=True)
class Attribution:
    """Where a change comes from: what was asked (composition) or how it was done (rate), and then who changed."""

    label: Label
    why: str
    composition: Part | None = None
    rate: Part | None = None
    incomparable: float = 0.0
    """Share of the exposure that is in kinds of work seen on one side only."""

    @property
    def is_of_rate(self) -> bool:
        """Whether the rate part is significant and at least half of the change."""
        if self.rate is None or self.composition is None:
            return False
        low, high = self.rate.interval95
        return (low > 0 or high < 0) and abs(self.rate.log_ratio) >= abs(self.composition.log_ratio)


@dataclass(frozen=True)
class Finding:
    """What was found about one metric.

    `before` and `after` are the metric's values on both sides of the boundary that is shown; `p` is adjusted for all
    dates and metrics that were looked at (for rare events: exact, of this boundary alone).
    """

    metric: Metric
    state: State
    why: str
    sessions: tuple[int, int]
    before: float
    after: float
    size: Size | None = None
    p: float = 1.0
    boundary: Boundary | None = None
    """Where it changed, when it did."""
    location: Location | None = None
    power: Power | None = None
    rare: RareTest | None = None
    attribution: Attribution | None = None
    direction: Literal["harmful", "good", "neutral"] = "neutral"


@dataclass(frozen=True)
class Standing:
    """What the verdict rests on besides the findings."""

    sessions: int
    before: int
    after: int
    informative: float
    """Share of sessions in a project that is seen on both sides."""
    reasons: tuple[str, ...] = field(default=())
    """Why nothing can be concluded whatever was found: the self-placebo failed, logs are unreadable, ..."""


def direction_of(metric: Metric, log_ratio: float, *, is_same_model: bool) -> Literal["harmful", "good", "neutral"]:
    """Return whether a change of a metric is for the worse."""
    harm = metric.harm
    if harm == "down if the model is the same":
        harm = "down" if is_same_model else "neutral"
    if harm == "neutral":
        return "neutral"
    return "harmful" if (log_ratio < 0) == (harm == "down") else "good"


def state_of(*, p: float, searched: Size | None, halves: Sequence[Size]) -> State:
    """Return the state of a metric that can be tested; `halves` are its sizes at boundaries that were not searched."""
    if p <= ALPHA and searched is not None:
        if abs(searched.log_ratio) >= RELEVANT and searched.is_clear:
            return "CHANGED"
        if searched.is_within(RELEVANT):
            return "NEGLIGIBLE"
        return "UNRESOLVED"
    return "EQUIVALENT" if halves and all(size.is_within(RELEVANT) for size in halves) else "UNRESOLVED"


def conclude(findings: Sequence[Finding], standing: Standing) -> tuple[Verdict, str]:
    """Return the verdict and its reason; the first rule that holds decides."""
    obstacle = _obstacle(standing)
    if obstacle:
        return "INCONCLUSIVE", obstacle
    headline = [finding for finding in findings if finding.metric.is_headline and finding.rare is None]
    changed = [finding for finding in headline if finding.state == "CHANGED"]
    if changed:
        return _of_changes(changed)
    testable = [finding for finding in headline if finding.state != "NOT TESTABLE"]
    holding = [finding for finding in testable if finding.state in ("EQUIVALENT", "NEGLIGIBLE")]
    if len(testable) >= FEWEST_TO_HOLD and len(holding) == len(testable):
        return "HOLDING", f"all {len(testable)} metrics stay within -20 % and +25 %"
    open_ = len(testable) - len(holding)
    if open_:
        return "INCONCLUSIVE", (
            f"nothing was found, and for {open_} of {len(testable)} metrics there are too few sessions to tell"
        )
    number = f"only {len(testable)} metrics" if len(testable) > 1 else "only one metric" if testable else "no metric"
    return "INCONCLUSIVE", f"{number} can be tested; it takes {FEWEST_TO_HOLD} to say that all stay what they were"


def _obstacle(standing: Standing) -> str:
    if standing.sessions < FEWEST_SESSIONS:
        noun = "session" if standing.sessions == 1 else "sessions"
        return f"{standing.sessions} {noun} of a person; at least {FEWEST_SESSIONS} are needed"
    if min(standing.before, standing.after) < FEWEST_A_SIDE:
        return (
            f"{standing.before} sessions before and {standing.after} after; at least {FEWEST_A_SIDE} a side are needed"
        )
    if standing.informative < INFORMATIVE_SHARE:
        return (
            f"only {standing.informative:.0%} of the sessions are in projects seen both before and after;"
            f" at least {INFORMATIVE_SHARE:.0%} are needed"
        )
    return standing.reasons[0] if standing.reasons else ""


def _of_changes(changed: Sequence[Finding]) -> tuple[Verdict, str]:
    directions = {finding.direction for finding in changed} - {"neutral"}
    names = ", ".join(finding.metric.title for finding in changed)
    if not directions:
        return "CHANGED", f"{names}: moved, for neither better nor worse"
    if len(directions) > 1:
        return "CHANGED", f"{names}: moved, some for the better and some for the worse"
    directed = [finding for finding in changed if finding.direction != "neutral"]
    of_rate = [f for f in directed if f.attribution is None or f.attribution.is_of_rate]
    if not of_rate:
        return "CHANGED", f"{names}: moved, but mostly because other work was asked for"
    shown = ", ".join(finding.metric.title for finding in of_rate)
    if directions == {"harmful"}:
        return "REGRESSED", f"{shown}: worse, given the same kind of work"
    return "IMPROVED", f"{shown}: better, given the same kind of work"


def with_attribution(finding: Finding, attribution: Attribution, *, is_same_model: bool) -> Finding:
    """Return a finding with where it comes from, and whether it is for the worse given that."""
    size = finding.size.log_ratio if finding.size else 0.0
    direction = direction_of(finding.metric, size, is_same_model=is_same_model)
    return replace(finding, attribution=attribution, direction=direction)
