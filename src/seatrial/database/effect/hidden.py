"""Code that a statement runs and that does not stand in it: functions, triggers, checks, defaults."""

from __future__ import annotations

from typing import Any

import psycopg

from seatrial.database.effect.observe import Counts, Snapshot
from seatrial.database.statements import Statement
from seatrial.database.statements.lexer import tokens

_TRIGGERS = """
SELECT t.tgname, t.tgrelid, t.tgfoid FROM pg_catalog.pg_trigger t
 WHERE t.tgrelid = ANY (%s::pg_catalog.oid[]) AND NOT t.tgisinternal AND t.tgenabled <> 'D'::pg_catalog."char"
"""
_EXPRESSIONS = """
SELECT c.conrelid, d.refobjid, 'check constraint' FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
   AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
 WHERE c.conrelid = ANY (%(tables)s::pg_catalog.oid[])
UNION SELECT a.adrelid, d.refobjid, 'default' FROM pg_catalog.pg_attrdef a
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid
   AND d.objid = a.oid AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
 WHERE a.adrelid = ANY (%(tables)s::pg_catalog.oid[])
UNION SELECT i.indrelid, d.refobjid, 'index' FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
   AND d.objid = i.indexrelid AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
 WHERE i.indrelid = ANY (%(tables)s::pg_catalog.oid[])
"""


def hidden_code(
    connection: psycopg.Connection[Any], statement: Statement, before: Snapshot, after: Snapshot
) -> tuple[str, ...]:
    """Return, as phrases, which code outside of the statement's text took part in it."""
    functions = {oid: entry.name for (kind, oid), entry in after.others.items() if kind == "function"}
    touched, changed = [], []
    for oid, relation in after.relations.items():
        counts = after.counts.get(oid, Counts()).since(before.counts.get(oid, Counts()))
        is_old = oid in before.relations
        if is_old and (counts.inserted or counts.updated or counts.deleted):
            changed.append(oid)
        if is_old and (oid in changed or relation.filenode != before.relations[oid].filenode or counts.scans):
            touched.append(oid)
    found = _called(statement, before)
    if changed:
        for name, table, function in connection.execute(_TRIGGERS, (changed,)):
            found.append(
                f"trigger {name} on {after.relations[table].name} runs {functions.get(function, 'a built-in function')}"
            )
    if touched and functions:
        for table, function, where in connection.execute(_EXPRESSIONS, {"tables": touched}):
            if function in functions:
                found.append(f"a {where} of {after.relations[table].name} calls {functions[function]}")
    return tuple(sorted(set(found)))


def _called(statement: Statement, before: Snapshot) -> list[str]:
    """Functions of the database that the text names before a parenthesis."""
    bare = {
        entry.name.rpartition(".")[2]: entry.name for (kind, _), entry in before.others.items() if kind == "function"
    }
    if not bare:
        return []
    found, previous = [], ""
    for token in tokens(statement.text):
        name = previous.strip('"') if previous.startswith('"') else previous.lower()
        if token == "(" and name in bare and not statement.kind.startswith(("CREATE", "DROP", "ALTER", "COMMENT")):
            found.append(f"the statement calls {bare[name]}")
        previous = token
    return found
