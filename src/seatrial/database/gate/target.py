"""Ways into production: to look at its schema, and, for the apply step alone, to change it."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from seatrial import paths
from seatrial.database import catalog, production, roles, snapshots
from seatrial.database.postgres import connect
from seatrial.database.postgres.connection import PINNED
from seatrial.database.project import Project
from seatrial.database.sources import address
from seatrial.errors import RefusedError

_GIVES_UP = {
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
"""A session whose line is cut must not hold its locks for hours: the server ends it."""


def look(project: Project) -> psycopg.Connection[Any]:
    """Connect to production as a role that may read; PostgresError when it cannot be reached."""
    return connect(_dsn(project, "ro"), pinned={"default_transaction_read_only": "on"})


def deployer(project: Project) -> psycopg.Connection[Any]:
    """Connect to production as its deployer, acting as the schema's owner.

    Only the apply step calls this: nobody else is given the password.  Raises RefusedError when the source by URL has
    no deployer.
    """
    connection = connect(_dsn(project, "deployer"), pinned={**PINNED, **_GIVES_UP})
    if not production.source_of(project).embedded:
        try:
            address.act_as_owner(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def schema(project: Project) -> catalog.Schema:
    """Read production's schema as it is now, and keep it; PostgresError when it cannot be reached."""
    with look(project) as connection:
        found = schema_of(project, connection)
    keep(project, found)
    return found


def schema_of(project: Project, connection: psycopg.Connection[Any]) -> catalog.Schema:
    """Read a schema as the golden copies of this project have it: masked ones have no comments."""
    return snapshots.schema_of(connection, comments=not project.settings.masking)


def keep(project: Project, found: catalog.Schema) -> str:
    """Keep a schema so that it can be compared with later ones; return its fingerprint."""
    file = paths.private_folder(project.folder / "schemas") / f"{found.fingerprint}.json"
    if not file.exists():
        with paths.atomic_write(file) as stream:
            stream.write(json.dumps(found.as_dict()).encode())
    return found.fingerprint


def kept(project: Project, fingerprint: str) -> catalog.Schema | None:
    """Return a schema that was kept, or None."""
    try:
        found = catalog.Schema.from_dict(json.loads((project.folder / "schemas" / f"{fingerprint}.json").read_text()))
    except (OSError, ValueError, KeyError):
        return None
    return found if found.fingerprint == fingerprint else None


def _dsn(project: Project, kind: str) -> str:
    source = production.source_of(project)
    if not source.embedded:
        name = address.secret_name(source, "deployer" if kind == "deployer" else "url")
        if not project.has_secret(name):
            raise RefusedError(
                f"The source {source.name} has no deployer, so nothing can be applied to it.",
                hint="Remove it and add it again with --deployer URL.",
            )
        return project.secret(name)
    cluster = production.cluster_of(project)
    cluster.start()
    database = project.settings.name
    return cluster.dsn(database, roles.names(database)[kind], project.secret(f"production {kind}"))
