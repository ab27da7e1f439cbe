"""Roles: who may do what in production and in a branch.

Nobody who works logs in as superuser.  In a branch, `b<id>_owner` acts as the role that owns the schema, `b<id>_rw` may
change rows and `b<id>_ro` may read them; none of them exists anywhere else.  In production, the application has
`<name>_rw` and `<name>_ro`, and `<name>_deployer`, which acts as the schema's owner, is for the apply step alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from seatrial.database.postgres.connection import run

READERS, WRITERS = "seatrial_ro", "seatrial_rw"
"""Roles of a copy that hold the grants; they do not exist in production and are left out of fingerprints."""
INBOX = "seatrial"
"""The schema of a branch where proposals are left; in production, that of the ledger."""
_PLAIN = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_TIMEOUTS = {"idle_in_transaction_session_timeout": "15min", "lock_timeout": "30s"}
_CONNECTIONS = {"owner": 10, "rw": 30, "ro": 10}
_LARGE_OBJECT_MAKERS = ("lo_create(oid)", "lo_creat(integer)", "lo_import(text)", "lo_from_bytea(oid, bytea)")

_Connection = psycopg.Connection[Any]


def names(database: str) -> dict[str, str]:
    """Return the roles of an embedded production database."""
    return {kind: f"{database}_{kind}" for kind in ("owner", "deployer", "rw", "ro")}


def create_production_roles(connection: _Connection, database: str, passwords: dict[str, str]) -> None:
    """Create the roles of production on its server, and close what every role could do by default."""
    role = names(database)
    run(connection, f"CREATE ROLE {{}} NOLOGIN {_PLAIN}", role["owner"])
    for kind in ("deployer", "rw", "ro"):
        statement = f"CREATE ROLE {{}} LOGIN {_PLAIN} CONNECTION LIMIT 80 PASSWORD {{password}}"
        run(connection, statement, role[kind], password=passwords[kind])
    run(connection, "GRANT {} TO {}", role["owner"], role["deployer"])
    run(connection, "ALTER ROLE {} SET role = {owner}", role["deployer"], owner=role["owner"])
    run(connection, "CREATE DATABASE {} OWNER {} TEMPLATE template0", database, role["owner"])
    close_defaults(connection, database)
    for kind in ("deployer", "rw", "ro"):
        run(connection, "GRANT CONNECT ON DATABASE {} TO {}", database, role[kind])


def grant_production_defaults(connection: _Connection, database: str) -> None:
    """In the database itself: what the owner makes later, the application may use."""
    role = names(database)
    run(connection, "GRANT USAGE ON SCHEMA public TO {}, {}", role["rw"], role["ro"])
    start = "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT "
    run(connection, start + "SELECT, INSERT, UPDATE, DELETE ON TABLES TO {}", role["owner"], role["rw"])
    run(connection, start + "USAGE, SELECT ON SEQUENCES TO {}", role["owner"], role["rw"])
    run(connection, start + "SELECT ON TABLES TO {}", role["owner"], role["ro"])
    close_large_objects(connection)


def close_defaults(connection: _Connection, *databases: str) -> None:
    """Take from PUBLIC the right to connect to, and to create temporary tables in, any database of this server."""
    for name in ("template1", "postgres", *databases):
        run(connection, "REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", name)


def close_large_objects(connection: _Connection) -> None:
    """Take from PUBLIC the functions that make large objects: they need no grant on anything and fill the disk."""
    for function in _LARGE_OBJECT_MAKERS:
        run(connection, f"REVOKE EXECUTE ON FUNCTION pg_catalog.{function} FROM PUBLIC")


def disarm(connection: _Connection) -> None:
    """Make every role of a copied server one that cannot log in and has no attribute, except the superuser.

    A copy carries its source's passwords and rights; none of them may work in a branch.
    """
    found = connection.execute(
        "SELECT rolname FROM pg_catalog.pg_roles WHERE oid >= 16384 AND rolname <> current_user"
    ).fetchall()
    for (name,) in found:
        run(connection, f"ALTER ROLE {{}} NOLOGIN PASSWORD NULL {_PLAIN}", name)
        run(connection, "ALTER ROLE {} RESET ALL", name)


def open_copy(connection: _Connection, database: str) -> tuple[str, ...]:
    """In a golden copy: give readers and writers their grants, and return the owners of what the application has."""
    for name in (READERS, WRITERS):
        if not connection.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", [name]).fetchone():
            run(connection, f"CREATE ROLE {{}} NOLOGIN {_PLAIN}", name)
    owners = _owners(connection)
    for schema in _schemas(connection):
        run(connection, "GRANT USAGE ON SCHEMA {} TO {}, {}", schema, READERS, WRITERS)
        run(connection, "GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}, {}", schema, READERS, WRITERS)
        run(connection, "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {} TO {}", schema, WRITERS)
        run(connection, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA {} TO {}", schema, READERS)
        run(connection, "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {} TO {}", schema, WRITERS)
    for owner in owners:
        start = "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT "
        run(connection, start + "SELECT ON TABLES TO {}, {}", owner, READERS, WRITERS)
        run(connection, start + "INSERT, UPDATE, DELETE ON TABLES TO {}", owner, WRITERS)
        run(connection, start + "USAGE, SELECT, UPDATE ON SEQUENCES TO {}", owner, WRITERS)
        run(connection, start + "USAGE ON SCHEMAS TO {}, {}", owner, READERS, WRITERS)
    close_defaults(connection, database)
    close_large_objects(connection)
    return owners


def create_branch_roles(
    connection: _Connection, database: str, roles: dict[str, str], passwords: dict[str, str], owners: Sequence[str]
) -> None:
    """Create the three login roles of one branch; `roles` and `passwords` by kind, `owners` first the one to act as."""
    with connection.transaction():
        for kind, name in roles.items():
            limit = f"CREATE ROLE {{}} LOGIN {_PLAIN} CONNECTION LIMIT {_CONNECTIONS[kind]} PASSWORD {{password}}"
            run(connection, limit, name, password=passwords[kind])
            run(connection, "GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}", database, name)
            for setting, value in _TIMEOUTS.items():
                run(connection, f"ALTER ROLE {{}} SET {setting} = {{value}}", name, value=value)
        run(connection, "GRANT {} TO {}", READERS, roles["ro"])
        run(connection, "GRANT {} TO {}", WRITERS, roles["rw"])
        run(connection, "ALTER ROLE {} SET default_transaction_read_only = on", roles["ro"])
        for owner in owners:
            run(connection, "GRANT {} TO {}", owner, roles["owner"])
        if owners:
            run(connection, "ALTER ROLE {} SET role = {owner}", roles["owner"], owner=owners[0])


_OWNERS = """
SELECT r.rolname FROM pg_catalog.pg_roles r
WHERE r.rolname <> current_user AND r.oid >= 16384 AND (
  EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relowner = r.oid AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
  OR EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspowner = r.oid)
  OR EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.proowner = r.oid)
  OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typowner = r.oid)
  OR EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.datdba = r.oid AND d.datname = current_database()))
ORDER BY (SELECT d.datdba = r.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()) DESC, r.rolname
"""


def _owners(connection: _Connection) -> tuple[str, ...]:
    return tuple(name for (name,) in connection.execute(_OWNERS).fetchall())


def _schemas(connection: _Connection) -> list[str]:
    found = connection.execute(
        "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> ALL(%s) ORDER BY 1",
        [["information_schema", INBOX]],
    )
    return [name for (name,) in found.fetchall()]
