"""What a source has beside tables: roles, extensions, where sequences stand, settings, and how it sorts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from seatrial.database.postgres.connection import run
from seatrial.errors import SourceError

_ROLES = """
WITH RECURSIVE used (oid) AS (
  SELECT d.refobjid FROM pg_shdepend d
  WHERE d.refclassid = 'pg_authid'::regclass
    AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND (d.dbid <> 0 OR d.classid = 'pg_database'::regclass
         AND d.objid = (SELECT oid FROM pg_database WHERE datname = current_database()))
  UNION SELECT 10::oid
  UNION SELECT m.roleid FROM used u JOIN pg_auth_members m ON m.member = u.oid)
SELECT r.rolname, r.rolsuper FROM used u JOIN pg_roles r ON r.oid = u.oid WHERE r.rolname !~ '^pg_' ORDER BY 1
"""
_MEMBERSHIPS = """
SELECT DISTINCT g.rolname, m.rolname FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid
JOIN pg_roles m ON m.oid = a.member WHERE g.rolname = ANY(%(names)s) AND m.rolname = ANY(%(names)s) ORDER BY 1, 2
"""
_DATABASE = """
SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text
FROM pg_database WHERE datname = current_database()
"""
_SETTINGS = """
SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) FROM pg_db_role_setting s, unnest(s.setconfig) c
WHERE s.setrole = 0 AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_SEQUENCES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'seatrial')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.deptype = 'e')
ORDER BY 1
"""
_VIEWS = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname !~ '^pg_' AND n.nspname <> 'seatrial' ORDER BY c.oid
"""


@dataclass(frozen=True)
class Locale:
    """How a database sorts: encoding, collation, character classes, and who provides them."""

    encoding: str
    collate: str
    ctype: str
    provider: str

    def __str__(self) -> str:
        return f"{self.encoding} {self.collate}"


@dataclass(frozen=True)
class Origin:
    """What is read of a source; `extensions` are (name, version), `memberships` (role, member)."""

    version: int
    owner: str
    roles: tuple[tuple[str, bool], ...]
    memberships: tuple[tuple[str, str], ...]
    extensions: tuple[tuple[str, str], ...]
    locale: Locale
    settings: tuple[tuple[str, str], ...]
    sequences: tuple[tuple[str, int, bool], ...]
    filled_views: tuple[str, ...]


def read(connection: psycopg.Connection[Any]) -> Origin:
    """Read it within a transaction; only catalog tables and sequences are looked at."""
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        roles = connection.execute(_ROLES).fetchall()
        names = [name for name, _ in roles]
        links = connection.execute(_MEMBERSHIPS, {"names": names}).fetchall()
        extensions = connection.execute("SELECT extname, extversion FROM pg_extension ORDER BY 1").fetchall()
        owner, *sorting = connection.execute(_DATABASE).fetchall()[0]
        settings = connection.execute(_SETTINGS).fetchall()
        sequences = []
        for (name,) in connection.execute(_SEQUENCES).fetchall():
            # Names come quoted from the catalog.
            row = connection.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchone()
            sequences.append((name, *(row or (1, False))))
        views = connection.execute(_VIEWS).fetchall()
    return Origin(
        connection.info.server_version,
        owner,
        tuple(roles),
        tuple(links),
        tuple(extensions),
        Locale(*sorting),
        tuple(settings),
        tuple(sequences),
        tuple(name for (name,) in views),
    )


def check_extensions(origin: Origin, target: psycopg.Connection[Any]) -> None:
    """Raise SourceError, naming them, when the source has extensions that the server of the copy has not."""
    have = {name for (name,) in target.execute("SELECT name FROM pg_catalog.pg_available_extensions").fetchall()}
    missing = [name for name, _ in origin.extensions if name not in have]
    if missing:
        raise SourceError(
            f"The source has the extension {', '.join(missing)}, which the Postgres of this project has not.",
            hint="Set [db] postgres to an installation that has it.",
        )


def create_database(origin: Origin, target: psycopg.Connection[Any], name: str) -> str:
    """Create roles that cannot log in, and the database; return how it sorts otherwise than the source, or "".

    Roles that are superusers in the source are so until the copy is disarmed: only such may own event triggers.
    """
    existing = {row[0] for row in target.execute("SELECT rolname FROM pg_catalog.pg_roles").fetchall()}
    for role, superuser in origin.roles:
        if role not in existing:
            run(target, f"CREATE ROLE {{}} NOLOGIN {'SUPERUSER' if superuser else 'NOSUPERUSER'}", role)
    for role, member in origin.memberships:
        if member not in existing:
            run(target, "GRANT {} TO {}", role, member)
    return _create(origin, target, name)


def _create(origin: Origin, target: psycopg.Connection[Any], name: str) -> str:
    locale = origin.locale
    mine = target.execute(
        "SELECT datcollate, datctype, datlocprovider::text FROM pg_catalog.pg_database WHERE datname = 'template0'"
    ).fetchall()[0]
    statement = "CREATE DATABASE {} OWNER {} TEMPLATE template0"
    if (locale.collate, locale.ctype) == mine[:2] and locale.provider == mine[2]:
        run(target, statement, name, origin.owner)
        return ""
    if locale.provider == "c":
        try:
            libc = " ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE {collate} LC_CTYPE {ctype}"
            run(target, statement + libc, name, origin.owner, collate=locale.collate, ctype=locale.ctype)
            return ""
        except psycopg.Error:
            pass  # this machine does not have that locale
    run(target, statement, name, origin.owner)
    if {locale.collate, mine[0]} <= {"C", "C.UTF-8", "C.utf8"}:
        return ""  # all of them sort by code points
    return f"The source sorts text by {locale.collate}, the copy by {mine[0]}."


def finish(origin: Origin, target: psycopg.Connection[Any], name: str) -> None:
    """Set sequences to where they stand in the source, fill materialized views, and take over settings.

    Raises SourceError for a view that cannot be filled.
    """
    for sequence, value, called in origin.sequences:
        target.execute("SELECT pg_catalog.setval(%s::regclass, %s, %s)", [sequence, value, called])
    waiting = list(origin.filled_views)
    while waiting:
        later = []
        for view in waiting:
            try:
                target.execute(f"REFRESH MATERIALIZED VIEW {view}".encode())
            except psycopg.errors.ObjectNotInPrerequisiteState:
                later.append(view)  # it reads another one that is not filled yet
        if len(later) == len(waiting):
            raise SourceError(f"The materialized view {later[0]} cannot be filled.")
        waiting = later
    known = {
        row[0] for row in target.execute("SELECT name FROM pg_catalog.pg_settings WHERE context = 'user'").fetchall()
    }
    for setting, text in origin.settings:
        if setting in known or "." in setting:
            with target.transaction():
                target.execute("SELECT pg_catalog.set_config(%s, %s, true)", [setting, text])
                run(target, "ALTER DATABASE {} SET {} FROM CURRENT", name, setting)
