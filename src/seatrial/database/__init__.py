"""Database: a real Postgres branch for every preview or agent, and a human gate for schema changes.

from seatrial import database
project = database.init(name="shop")
database.create_branch(project, database.Wish("feature-x"))
with database.connect("feature-x") as connection:
    connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY)")
"""

from seatrial.errors import MissingExtraError

try:
    from seatrial.database.access import (
        add_source,
        branch_facts,
        connect,
        init,
        load_sql,
        psql_arguments,
        serve_mcp,
        url,
    )
    from seatrial.database.audit import Event
    from seatrial.database.branches import Wish, all_branches, delete_snapshot, reconcile, take_snapshot
    from seatrial.database.branches import create as create_branch
    from seatrial.database.branches import delete as delete_branch
    from seatrial.database.branches import extend as extend_branch
    from seatrial.database.branches import find as find_branch
    from seatrial.database.branches import rename as rename_branch
    from seatrial.database.branches import reset as reset_branch
    from seatrial.database.doctor import Finding, doctor
    from seatrial.database.effect import EffectReport, render_html, render_text
    from seatrial.database.follow import install as install_follow
    from seatrial.database.follow import now as follow
    from seatrial.database.follow import remove as remove_follow
    from seatrial.database.gate.apply import Applied, abandon, apply, resume
    from seatrial.database.gate.approval import approve, reject
    from seatrial.database.gate.approval import required as approvals_required
    from seatrial.database.gate.approval import valid as approvals
    from seatrial.database.gate.drift import accept as accept_drift
    from seatrial.database.gate.drift import drift
    from seatrial.database.gate.files import change_from, write_page
    from seatrial.database.gate.inbox import collect_inbox
    from seatrial.database.gate.migrations import Migration, migrations
    from seatrial.database.gate.proposal import Approval, Plan, Proposal, report_of
    from seatrial.database.gate.proposal import find as find_proposal
    from seatrial.database.gate.propose import Change, measure_change, propose, stale
    from seatrial.database.gate.signing import add_reviewer, remove_reviewer, reviewers
    from seatrial.database.project import Project, find_project
    from seatrial.database.records import Branch, Snapshot, Source
    from seatrial.database.rows.compare import RowChange, RowDiff
    from seatrial.database.rows.compare import diff as diff_rows
    from seatrial.database.rows.promote import promote as promote_rows
    from seatrial.database.service.control import Service, down, resident_bytes, running, servers, up
    from seatrial.database.sources.policies import check_policy, propose_policy, try_policy, write_policy
    from seatrial.database.sources.refresh import refresh
    from seatrial.database.sources.register import facts as source_facts
    from seatrial.database.sources.register import find as find_source
    from seatrial.database.sources.register import remove as remove_source
except ModuleNotFoundError as problem:
    raise MissingExtraError(str(problem.name).partition(".")[0], "database") from problem

__all__ = [
    "Applied",
    "Approval",
    "Branch",
    "Change",
    "EffectReport",
    "Event",
    "Finding",
    "Migration",
    "Plan",
    "Project",
    "Proposal",
    "RowChange",
    "RowDiff",
    "Service",
    "Snapshot",
    "Source",
    "Wish",
    "abandon",
    "accept_drift",
    "add_reviewer",
    "add_source",
    "all_branches",
    "apply",
    "approvals",
    "approvals_required",
    "approve",
    "branch_facts",
    "change_from",
    "check_policy",
    "collect_inbox",
    "connect",
    "create_branch",
    "delete_branch",
    "delete_snapshot",
    "diff_rows",
    "doctor",
    "down",
    "drift",
    "extend_branch",
    "find_branch",
    "find_project",
    "find_proposal",
    "find_source",
    "follow",
    "init",
    "install_follow",
    "load_sql",
    "measure_change",
    "migrations",
    "promote_rows",
    "propose",
    "propose_policy",
    "psql_arguments",
    "reconcile",
    "refresh",
    "reject",
    "remove_follow",
    "remove_reviewer",
    "remove_source",
    "rename_branch",
    "render_html",
    "render_text",
    "report_of",
    "reset_branch",
    "resident_bytes",
    "resume",
    "reviewers",
    "running",
    "serve_mcp",
    "servers",
    "source_facts",
    "stale",
    "take_snapshot",
    "try_policy",
    "up",
    "url",
    "write_page",
    "write_policy",
]
