"""The report as a self-contained page for a reviewer: no script, nothing loaded, everything from outside escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import jinja2

from seatrial import pages
from seatrial.database.effect import phrases
from seatrial.database.effect.report import EffectReport
from seatrial.database.effect.sides import side_by_side

_FOLDER = Path(__file__).with_name("templates")
_PHRASES = (
    phrases.amount,
    phrases.deeds,
    phrases.loss_phrase,
    phrases.mode_of,
    phrases.number,
    phrases.objects_phrase,
    phrases.plan_phrase,
    phrases.plural,
    phrases.rows_phrase,
    phrases.script,
    phrases.time_of,
    phrases.undo_phrase,
    phrases.verdict,
    phrases.where,
)


def render_html(
    report: EffectReport,
    *,
    title: str = "Effect of a schema change",
    facts: Mapping[str, str] | None = None,
    language: str = "en",
) -> str:
    """Return the page.  `facts` (author, proposal, plan hash …) stand below the title in their order.

    Characters that would not be seen are shown by their number, also in SQL: what is on the page is what will run.
    """
    return _template().render(
        report=report,
        title=title,
        facts=facts or {},
        language=language,
        copy_note=phrases.COPY_NOTE,
        hazards=sorted(report.hazards, key=lambda h: (phrases.SEVERITIES.index(h.severity), h.name)),
        risks=_risks(report),
    )


def _risks(report: EffectReport) -> dict[int, str]:
    """Return the worst severity of each statement."""
    worst: dict[int, str] = {}
    for hazard in report.hazards:
        for place in hazard.places:
            known = worst.get(place.statement, phrases.SEVERITIES[-1])
            worst[place.statement] = min(known, hazard.severity, key=phrases.SEVERITIES.index)
    return worst


@cache
def _template() -> jinja2.Template:
    environment = pages.environment(_FOLDER, _PHRASES)
    # For attributes and the title, where no element may stand.
    environment.filters["plain"] = phrases.visible
    environment.globals["side_by_side"] = side_by_side
    environment.globals["marks"] = phrases.MARKS
    return environment.get_template("page.html.j2")
