"""The effect report: what a change of the schema did to a copy of production, measured."""

from seatrial.database.effect.measure import measure
from seatrial.database.effect.page import render_html
from seatrial.database.effect.plans import queries_of_statistics, read_queries
from seatrial.database.effect.report import EffectReport, Hazard, Query, Timeouts
from seatrial.database.effect.text import render_text

__all__ = [
    "EffectReport",
    "Hazard",
    "Query",
    "Timeouts",
    "measure",
    "queries_of_statistics",
    "read_queries",
    "render_html",
    "render_text",
]
