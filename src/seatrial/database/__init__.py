"""Database: a real Postgres branch for every preview or agent, and a human gate for schema changes.

from seatrial import database
project = database.init(name="shop")
database.create_branch(project, database.Wish("feature-x"))
with database.connect("feature-x") as connection:
    connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY)")
"""

from seatrial.errors import MissingExtraError

try:
    from seatrial.database.access import branch_facts, connect, init, load_sql, psql_arguments, url
    from seatrial.database.audit import Event
    from seatrial.database.branches import Wish, all_branches, delete_snapshot, reconcile, take_snapshot
    from seatrial.database.branches import create as create_branch
    from seatrial.database.branches import delete as delete_branch
    from seatrial.database.branches import extend as extend_branch
    from seatrial.database.branches import find as find_branch
    from seatrial.database.branches import rename as rename_branch
    from seatrial.database.branches import reset as reset_branch
    from seatrial.database.doctor import Finding, doctor
    from seatrial.database.project import Project, find_project
    from seatrial.database.records import Branch, Snapshot, Source
    from seatrial.database.service.control import Service, down, resident_bytes, running, servers, up
    from seatrial.database.snapshots import refresh_embedded as refresh
except ModuleNotFoundError as problem:
    raise MissingExtraError(str(problem.name).partition(".")[0], "database") from problem

__all__ = [
    "Branch",
    "Event",
    "Finding",
    "Project",
    "Service",
    "Snapshot",
    "Source",
    "Wish",
    "all_branches",
    "branch_facts",
    "connect",
    "create_branch",
    "delete_branch",
    "delete_snapshot",
    "doctor",
    "down",
    "extend_branch",
    "find_branch",
    "find_project",
    "init",
    "load_sql",
    "psql_arguments",
    "reconcile",
    "refresh",
    "rename_branch",
    "reset_branch",
    "resident_bytes",
    "running",
    "servers",
    "take_snapshot",
    "up",
    "url",
]
