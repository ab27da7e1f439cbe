"""The ledger: what was applied, in production itself, written in the transaction that it is about.

In the embedded production it belongs to the superuser; the deployer may add to it and go on with its own rows.  Whoever
owns the schema can neither read nor write it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from seatrial.database.postgres.connection import own_names, run
from seatrial.errors import ApplyError

_TABLE = """
CREATE SCHEMA IF NOT EXISTS seatrial;
CREATE TABLE IF NOT EXISTS seatrial.ledger (
  proposal text NOT NULL, step integer NOT NULL, state text NOT NULL CHECK (state IN ('started', 'done', 'failed')),
  plan_hash text NOT NULL, sql_sha256 text NOT NULL, title text NOT NULL, author text NOT NULL,
  approvers text[] NOT NULL, role name NOT NULL DEFAULT session_user,
  server text NOT NULL DEFAULT current_setting('server_version'), fingerprint text NOT NULL DEFAULT '',
  started timestamptz NOT NULL DEFAULT clock_timestamp(), finished timestamptz,
  PRIMARY KEY (proposal, step));
"""
_GUARD = """
SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
  SELECT concat_ws(' ', c.oid, c.relname, c.relkind, c.relowner, c.relacl, c.relrowsecurity, c.relhasrules) AS line
  FROM pg_catalog.pg_class c WHERE c.relnamespace = to_regnamespace('seatrial')
  UNION ALL SELECT concat_ws(' ', a.attrelid, a.attname, a.atttypid, a.attnotnull, a.attacl,
                             pg_get_expr(d.adbin, d.adrelid))
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE c.relnamespace = to_regnamespace('seatrial')
  UNION ALL SELECT concat_ws(' ', t.oid, t.tgname, t.tgenabled) FROM pg_catalog.pg_trigger t
  JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = to_regnamespace('seatrial')
  UNION ALL SELECT concat_ws(' ', n.nspowner, n.nspacl) FROM pg_catalog.pg_namespace n WHERE n.nspname = 'seatrial'
) AS lines
"""

_WRITE = """
INSERT INTO seatrial.ledger
  (proposal, step, state, plan_hash, sql_sha256, title, author, approvers, finished, fingerprint)
VALUES (%(proposal)s, %(step)s, %(state)s, %(plan_hash)s, %(sql_sha256)s, %(title)s, %(author)s, %(approvers)s,
        CASE WHEN %(state)s = 'started' THEN NULL ELSE clock_timestamp() END, %(fingerprint)s)
ON CONFLICT (proposal, step) DO UPDATE
SET state = EXCLUDED.state, finished = EXCLUDED.finished, fingerprint = EXCLUDED.fingerprint
"""


@dataclass(frozen=True)
class Step:
    """One row: a group of a plan that was started, done, or failed."""

    step: int
    state: str
    plan_hash: str
    fingerprint: str


def create(connection: psycopg.Connection[Any], deployer: str = "") -> None:
    """Create the ledger if it is not there; `deployer` may then add to it."""
    connection.execute(_TABLE)
    if deployer:
        run(connection, "GRANT USAGE ON SCHEMA seatrial TO {}", deployer)
        run(connection, "GRANT SELECT, INSERT, UPDATE ON seatrial.ledger TO {}", deployer)


def guard(connection: psycopg.Connection[Any]) -> str:
    """Return a text that changes when anybody puts a trigger, rule, column or grant on the ledger."""
    with own_names(connection):
        row = connection.execute(_GUARD).fetchone()
    return str(row[0]) if row else ""


def steps(connection: psycopg.Connection[Any], proposal: str) -> list[Step]:
    """Return the rows of a proposal, in order; ApplyError when there is no ledger that can be read."""
    try:
        with _as_deployer(connection):
            found = connection.execute(
                "SELECT step, state, plan_hash, fingerprint FROM seatrial.ledger WHERE proposal = %s ORDER BY step",
                [proposal],
            ).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as problem:
        raise ApplyError("Production has no ledger that the deployer can read.", hint="seatrial db doctor") from problem
    return [Step(*row) for row in found]


def write(connection: psycopg.Connection[Any], values: dict[str, Any]) -> None:
    """Add a row, or go on with the one of the same proposal and step; `values` by column."""
    with _as_deployer(connection):
        connection.execute(_WRITE, values)


@contextmanager
def _as_deployer(connection: psycopg.Connection[Any]) -> Iterator[None]:
    # The session acts as the schema's owner, who has no right here; inside a transaction this lasts until its end.
    with connection.transaction():
        connection.execute("SET LOCAL ROLE NONE")
        yield
