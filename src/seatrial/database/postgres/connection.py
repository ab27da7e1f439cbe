"""Connections with pinned settings, and what a server's complaint means for a person."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from seatrial.errors import PostgresError

PINNED: Mapping[str, str] = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "search_path": "public",
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
    "extra_float_digits": "1",
}
"""What a session is set to: under another TimeZone the same statement may rewrite a table."""
OWN_NAMES: Mapping[str, str] = {**PINNED, "search_path": "pg_catalog, pg_temp"}
"""The same for a session in which names are to mean the server's own, whatever a database holds."""
_CONNECT_SECONDS = 10


def connect(
    dsn: str, *, autocommit: bool = True, pinned: Mapping[str, str] = PINNED, **parameters: Any
) -> psycopg.Connection[Any]:
    """Open a connection whose settings are `pinned`; PostgresError in one sentence when it cannot be opened."""
    options = " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in pinned.items())
    try:
        own = conninfo_to_dict(dsn).get("options")
        options = f"{own} {options}" if own else options
        return psycopg.connect(
            dsn,
            autocommit=autocommit,
            options=options,
            application_name="seatrial",
            # Named prepared statements could be replaced by code that the session runs, and answer what it likes.
            prepare_threshold=None,
            **{"connect_timeout": _CONNECT_SECONDS, **parameters},
        )
    except psycopg.Error as problem:
        raise explain(problem, "The database cannot be reached") from problem


def explain(problem: psycopg.Error, doing: str) -> PostgresError:
    """Return the error for people: what was being done, and the first line of what the server said."""
    text = problem.diag.message_primary or _first_reason(str(problem))
    lowered = text.lower()
    hint = None
    if "password authentication failed" in lowered:
        hint = "Check user and password of the URL."
    elif "connection refused" in lowered or "no such file" in lowered or "could not translate" in lowered:
        hint = "Check host and port; is the server running?"
    elif "no space left" in lowered:
        hint = "Free some disk space and try again."
    return PostgresError(f"{doing}: {text.rstrip('.')}.", hint=hint, sqlstate=problem.sqlstate or "")


def _first_reason(said: str) -> str:
    """Return what matters of a failed connection: the server's FATAL, or else the client's last line."""
    fatal = re.search(r"(?:FATAL|ERROR):\s+(.+)", said)
    return fatal[1] if fatal else (said.strip().splitlines() or ["no reason given"])[-1]


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what a server complains of within the block into PostgresError: `doing`, and what it said."""
    try:
        yield
    except psycopg.Error as problem:
        raise explain(problem, doing) from problem


def one_statement(connection: psycopg.Connection[Any], text: str) -> psycopg.Cursor[Any]:
    """Execute a text from outside by the extended protocol: the server takes one statement and refuses `COMMIT; …`."""
    # A pipeline is always the extended protocol; outside of one, a text without parameters goes by the simple one,
    # which runs all the statements that it holds.
    with connection.pipeline():
        return connection.execute(text.encode())


def run(connection: psycopg.Connection[Any], statement: str, *names: str, **values: Any) -> None:
    """Execute a statement of our own, whose `{}` are identifiers and whose `{name}` are literals."""
    identifiers = [sql.Identifier(name) for name in names]
    literals = {key: sql.Literal(value) for key, value in values.items()}
    # Never text from outside: statements are written out in this package.
    connection.execute(sql.SQL(statement).format(*identifiers, **literals))


@contextmanager
def own_names(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Within the block names mean the server's own, whatever the database holds; the block reads and changes nothing.

    It is rolled back at its end, and with it the search path.
    """
    with connection.transaction(force_rollback=True):
        connection.execute(f"SET LOCAL search_path = {OWN_NAMES['search_path']}".encode())
        yield
