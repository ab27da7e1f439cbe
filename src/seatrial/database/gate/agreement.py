"""Whether a transaction does on production what it did on the copy, besides the schema that it ends in.

The fingerprint says nothing of rows, of roles and of what is still deferred.  Code that recognises production could
hide a change there; so tables must be those that changed on the copy, in the same ways and not far more often, and what
belongs to the whole server must not change at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from seatrial.database.effect import observe
from seatrial.database.effect.report import EffectReport
from seatrial.database.postgres.connection import own_names
from seatrial.errors import ApplyError

_SHARED = """
SELECT c.relname::text, s.n_tup_ins + s.n_tup_upd + s.n_tup_del
  FROM pg_class c JOIN pg_stat_xact_all_tables s ON s.relid = c.oid
 WHERE c.relname = ANY ('{pg_authid,pg_auth_members,pg_db_role_setting,pg_tablespace,pg_subscription}'::name[])
   AND c.relnamespace = 'pg_catalog'::regnamespace
UNION ALL
SELECT 'pg_database', hashtextextended(ROW(datallowconn, datconnlimit, datdba, datistemplate, dattablespace)::text, 0)
  FROM pg_database WHERE datname = current_database()
"""
_SHARED_NAMES = {
    "pg_authid": "a role or its password",
    "pg_auth_members": "who is a member of a role",
    "pg_db_role_setting": "the settings of a role or of the database",
    "pg_tablespace": "a tablespace",
    "pg_subscription": "a subscription",
    "pg_database": "the database itself",
}
_MOST_PASSES = 10
_FACTOR, _SPARE = 10, 1_000
"""Rows change while time goes by: ten times as many as on the copy, and a thousand in any case, are no surprise."""
_ACTIONS = ("inserted", "updated", "deleted")


@dataclass(frozen=True)
class State:
    """What a transaction has done so far: rows and files of tables, and a number for each part of the server."""

    tables: observe.Snapshot
    shared: dict[str, int]


@dataclass
class Measured:
    """What the statements of one transaction did on the copy: rows by (table, action), and tables with new files."""

    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, report: EffectReport, numbers: Iterable[int]) -> Measured:
        """Collect it for the statements of these `numbers`, from 1."""
        found = cls()
        wanted = set(numbers)
        for effect in report.statements:
            if effect.number in wanted:
                found.files |= {*effect.rewritten, *effect.truncated}
                for rows in effect.rows:
                    for action in _ACTIONS:
                        key = rows.table, action
                        found.rows[key] = found.rows.get(key, 0) + getattr(rows, action)
        return found


def look(connection: psycopg.Connection[Any]) -> State:
    """Return the state of the open transaction."""
    with own_names(connection):
        return State(observe.look(connection), dict(connection.execute(_SHARED).fetchall()))


def fire_deferred(connection: psycopg.Connection[Any]) -> State:
    """Run everything that is deferred to the commit, also what that defers anew, and return the state afterwards.

    A deferred trigger can put off others again, which would run after the last look.  Whatever is put off comes with a
    changed row, so a pass that changes none has left nothing.  Raises ApplyError when there is no end to it.
    """
    state = look(connection)
    for _ in range(_MOST_PASSES):
        before = state
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        state = look(connection)
        if state.tables.counts == before.tables.counts and state.tables.relations == before.tables.relations:
            return state
    raise ApplyError("Deferred triggers defer others without an end; everything is rolled back.")


def surprises(before: State, after: State, measured: Measured, sampled: Iterable[str] = ()) -> list[str]:
    """Return a sentence's part for each thing that the copy did not see; `sampled` tables had not all rows there."""
    skipped = set(sampled)
    found = [
        f"it changes {what}" for key, what in _SHARED_NAMES.items() if before.shared.get(key) != after.shared.get(key)
    ]
    settings = before.tables.session.items() ^ after.tables.session.items()
    found += [f"it changes the setting {name} of the session" for name in sorted({name for name, _ in settings})]
    names = {oid: relation.name for oid, relation in (before.tables.relations | after.tables.relations).items()}
    for oid, counts in after.tables.counts.items():
        table = observe.counted_name(oid, names)
        if table is None or table in skipped:
            continue
        changed = counts.since(before.tables.counts.get(oid, observe.Counts()))
        for action in _ACTIONS:
            here, there = getattr(changed, action), measured.rows.get((table, action), 0)
            if here > (max(there * _FACTOR, there + _SPARE) if there else 0):
                found.append(f"{here} rows of {table} are {action}, {there} were on the copy")
    for oid, relation in after.tables.relations.items():
        old = before.tables.relations.get(oid)
        is_new_file = old is not None and relation.kind in observe.TABLES and old.filenode != relation.filenode
        if is_new_file and relation.name not in measured.files and old and old.name not in measured.files:
            found.append(f"{relation.name} is emptied or rewritten, which it was not on the copy")
    return found
