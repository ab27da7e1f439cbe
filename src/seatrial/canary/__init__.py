"""Canary: did my coding agent get worse?  A computed verdict from its logs, with known error rates.

from seatrial import canary
with canary.open_history() as history:
    canary.take_in(history)
    report = canary.report(history)
print(canary.render_text(report.as_dict()))
"""

from seatrial.errors import MissingExtraError

try:
    from seatrial.canary.access import keep_evidence, open_history, report, sessions_of, take_in, write_page
    from seatrial.canary.costs import CostRow, costs
    from seatrial.canary.costs import total as total_costs
    from seatrial.canary.export import export
    from seatrial.canary.features import Features
    from seatrial.canary.history import History
    from seatrial.canary.ingest import IngestReport
    from seatrial.canary.install import Installed, install, uninstall
    from seatrial.canary.judge import Effort, Judgement, judge
    from seatrial.canary.monitor import Alarm, watch_once
    from seatrial.canary.notice import hand_to, show_on_desktop
    from seatrial.canary.pool import AcrossUsers, Pool, across_users, pool
    from seatrial.canary.report import Report, Window, window_of_days
    from seatrial.canary.share import Shared, share
    from seatrial.canary.text import render_text
except ModuleNotFoundError as problem:
    raise MissingExtraError(str(problem.name).partition(".")[0], "canary") from problem

__all__ = [
    "AcrossUsers",
    "Alarm",
    "CostRow",
    "Effort",
    "Features",
    "History",
    "IngestReport",
    "Installed",
    "Judgement",
    "Pool",
    "Report",
    "Shared",
    "Window",
    "across_users",
    "costs",
    "export",
    "hand_to",
    "install",
    "judge",
    "keep_evidence",
    "open_history",
    "pool",
    "render_text",
    "report",
    "sessions_of",
    "share",
    "show_on_desktop",
    "take_in",
    "total_costs",
    "uninstall",
    "watch_once",
    "window_of_days",
    "write_page",
]
