"""Canary: did my coding agent get worse?  A computed verdict from its logs, with known error rates.

from seatrial import canary
with canary.open_history() as history:
    canary.take_in(history)
    report = canary.report(history)
print(canary.render_text(report.as_dict()))
"""

from seatrial.errors import MissingExtraError

try:
    from seatrial.canary.access import open_history, report, sessions_of, take_in, write_page
    from seatrial.canary.features import Features
    from seatrial.canary.history import History
    from seatrial.canary.ingest import IngestReport
    from seatrial.canary.judge import Effort, Judgement, judge
    from seatrial.canary.report import Report, Window, window_of_days
    from seatrial.canary.text import render_text
except ModuleNotFoundError as problem:
    raise MissingExtraError(str(problem.name).partition(".")[0], "canary") from problem

__all__ = [
    "Effort",
    "Features",
    "History",
    "IngestReport",
    "Judgement",
    "Report",
    "Window",
    "judge",
    "open_history",
    "render_text",
    "report",
    "sessions_of",
    "take_in",
    "window_of_days",
    "write_page",
]
