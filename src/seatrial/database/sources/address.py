"""Addresses of databases: kept as secrets, opened with pinned settings, handed to programs in their environment."""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from seatrial.database import production
from seatrial.database.postgres import connect
from seatrial.database.postgres.connection import OWN_NAMES, run
from seatrial.database.project import Project
from seatrial.database.records import Source
from seatrial.errors import RefusedError, SourceError

OLDEST = 15
"""The oldest major version that can be a source."""
_READING = {**OWN_NAMES, "default_transaction_read_only": "on", "row_security": "off", "bytea_output": "hex"}


def parsed(url: str) -> dict[str, Any]:
    """Return the parts of a URL or connection string; SourceError when it is none, or names no database."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        # Not from the library's own error: its message repeats the text, and with it the password.
        raise SourceError(
            "This is not the address of a Postgres database.", hint="postgresql://user:password@host:5432/database"
        ) from None
    if not parts.get("dbname"):
        raise SourceError("The address names no database.", hint="postgresql://user:password@host:5432/database")
    return parts


def of(project: Project, source: Source) -> str:
    """Return where golden copies of a source are read from."""
    if not source.embedded:
        return project.secret(secret_name(source))
    cluster = production.cluster_of(project)
    cluster.start()
    return cluster.dsn(source.database)


def secret_name(source: Source, kind: str = "url") -> str:
    """Return the name of the secret that is the source's `url`, or its `deployer`."""
    return f"source {source.id} {kind}"


def open_for_reading(url: str) -> psycopg.Connection[Any]:
    """Connect in order to copy: nothing can be written, and row security refuses instead of hiding rows.

    Raises PostgresError when the server cannot be reached or the password is wrong.
    """
    return connect(url, pinned=_READING)


def act_as_owner(connection: psycopg.Connection[Any]) -> None:
    """Let a session act as the role that owns its database, as the owner of a branch does; RefusedError else."""
    who, owner = connection.execute(
        "SELECT session_user, pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database"
        " WHERE datname = current_database()"
    ).fetchall()[0]
    try:
        run(connection, "SET ROLE {}", owner)
    except psycopg.Error:
        raise RefusedError(
            f"The deployer {who} cannot act as {owner}, who owns the database.", hint=f"GRANT {owner} TO {who}"
        ) from None


def environment(url: str) -> dict[str, str]:
    """Return the environment of a client program, for its connection: command lines are seen by everybody."""
    found = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C"}
    for option in pq.Conninfo.parse(url.encode()):
        if option.val is not None and option.envvar:
            found[option.envvar.decode()] = option.val.decode()
    return found
