"""The inbox of a branch: where whoever has its URL, and nothing else, leaves proposals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psycopg

from seatrial.database import branches
from seatrial.database.gate.proposal import Proposal
from seatrial.database.gate.propose import Change, propose
from seatrial.database.postgres import connect
from seatrial.database.postgres.connection import OWN_NAMES, explain
from seatrial.database.project import Project
from seatrial.database.records import Branch
from seatrial.database.statements import MOST_BYTES
from seatrial.errors import SeatrialError

_REFUSED = "inbox refused"
_MOST = 20
"""Entries of one branch that are measured at once; the others wait for the next time."""
_PINNED = {**OWN_NAMES, "statement_timeout": "10s", "lock_timeout": "2s"}
_QUERY = """
SELECT origin, title, CASE WHEN octet_length(sql) <= %(most)s THEN sql END
  FROM (SELECT id, id::text || ':' || extract(epoch FROM left_at)::text AS origin, left(title, 200) AS title, sql
          FROM seatrial.inbox) AS entries
 WHERE origin <> ALL (%(seen)s::text[]) ORDER BY id LIMIT %(count)s
"""


@dataclass(frozen=True)
class _Entry:
    origin: str
    title: str
    sql: str | None


def collect_inbox(project: Project) -> list[tuple[str, Proposal | None, str]]:
    """Make proposals of what was left in the branches' inboxes; return (branch, proposal or None, why not) for each.

    Whatever one branch leaves, or does to its own server, does not stop the others.
    """
    existing = branches.all_branches(project)
    refused = {origin for origin in project.records.fact(_REFUSED).split() if origin[:8] in {b.id for b in existing}}
    seen = refused | {proposal.origin for proposal in project.records.all(Proposal)}
    found: list[tuple[str, Proposal | None, str]] = []
    for branch in existing:
        if branch.state != "ready":
            continue
        try:
            for entry in _entries(project, branch, seen):
                made, why = _proposed(project, branch, entry)
                if made is None:
                    refused.add(entry.origin)
                found.append((branch.name, made, why))
        except SeatrialError as problem:
            found.append((branch.name, None, problem.message))
    project.records.set_fact(_REFUSED, " ".join(sorted(refused)))
    return found


def _proposed(project: Project, branch: Branch, entry: _Entry) -> tuple[Proposal | None, str]:
    if entry.sql is None:
        return None, f"it has more than {MOST_BYTES // 2**20} MiB."
    change = Change(entry.sql, entry.title, f"the proposal of branch {branch.name}")
    try:
        return propose(project, change, author=f"branch {branch.name}", branch=branch.id, origin=entry.origin), ""
    except Exception as problem:  # what is wrong with one entry is said of that entry
        return None, str(problem)


def _entries(project: Project, branch: Branch, seen: Iterable[str]) -> Iterator[_Entry]:
    """Read what was not seen yet, as the role that may only read; PostgresError or BranchError when it cannot be."""
    start = f"{branch.id}:"
    values = {
        "most": MOST_BYTES,
        "seen": [origin.removeprefix(start) for origin in seen if origin.startswith(start)],
        "count": _MOST,
    }
    branches.start(project, branch)
    with connect(branches.dsn(project, branch, "ro"), pinned=_PINNED) as connection:
        try:
            rows = connection.execute(_QUERY, values).fetchall()
        except psycopg.Error as problem:
            raise explain(problem, f"The inbox of {branch.name} cannot be read") from problem
    return (_Entry(start + origin, title, sql) for origin, title, sql in rows)
