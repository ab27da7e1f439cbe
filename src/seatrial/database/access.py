"""The way in: `db init`, the URLs that clients are given, and a connection from Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psycopg

from seatrial import paths
from seatrial.database import branches, durations, holds, production, roles
from seatrial.database.gate import drift, target
from seatrial.database.postgres import connect as connect_to
from seatrial.database.postgres import installations
from seatrial.database.postgres.connection import explain, one_statement
from seatrial.database.project import Project, at, find_project, prepare
from seatrial.database.records import Branch, Snapshot, Source
from seatrial.database.service import control
from seatrial.database.sources import address, register
from seatrial.database.statements import split
from seatrial.errors import BranchError, DatabaseError, MissingExtraError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def init(root: Path | None = None, *, name: str = "", load: Path | None = None) -> Project:
    """Make a production server for the project at `root` (default: the working folder), and start everything.

    `name` is the database's name (default: made of the folder's); `load` is a file of SQL that fills it, run as the
    schema's owner in one transaction.  Called again, it does what is missing.  Raises DatabaseError for a bad name, or
    when `load` names a file and the database is not empty.
    """
    project = _declared((root or Path.cwd()).resolve(), name)
    production.create_production(project)
    control.up(project)
    if load:
        load_sql(project, load)
    drift.drift(project)  # what is there now is what later changes are compared with
    return project


def add_source(root: Path | None, name: str, url: str, *, deployer: str = "") -> tuple[Project, Source]:
    """Make the database at `url` the production of the project at `root` (default: the working folder's).

    A folder that is no project yet becomes one, which runs the same major version of Postgres where that is installed:
    only then can a change that was measured on a branch be applied.  Raises what `sources.register.add` does.
    """
    folder = (root or Path.cwd()).resolve()
    try:
        project = find_project(folder)
    except DatabaseError:
        database = re.sub(r"[^a-z0-9]+", "_", str(address.parsed(url)["dbname"]).lower()).strip("_")[:40]
        with address.open_for_reading(url) as connection:
            major = str(connection.info.server_version // 10000)
        other = str(at(folder).installation.major) != major
        installed = any(str(entry.major) == major for entry in installations())
        project = _declared(folder, database if _NAME.fullmatch(database) else "", major if other and installed else "")
    return project, register.add(project, name, url, deployer=deployer)


def _declared(folder: Path, name: str, postgres: str = "") -> Project:
    """Write `[db]` where there is none, and the folders of the project."""
    project = at(folder)
    file = folder / "seatrial.toml"
    written = file.read_text(encoding="utf-8") if file.is_file() else ""
    if not re.search(r"^\[db\]", written, re.MULTILINE):
        name = name or re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_")[:40] or "app"
        _check_name(name)
        addition = f'[db]\nname = "{name}"\n' + (f'postgres = "{postgres}"\n' if postgres else "")
        with paths.atomic_write(file) as stream:
            stream.write((written + ("\n" if written else "") + addition).encode())
        project = at(folder)
    elif name and name != project.settings.name:
        raise DatabaseError(
            f"{file} says that the database is called {project.settings.name}.", hint="Change it there."
        )
    _check_name(project.settings.name)
    prepare(project)
    return project


def load_sql(project: Project, file: Path) -> int:
    """Fill an empty production database from a file of SQL, in one transaction; return how many statements ran.

    Raises DatabaseError when there are tables already, or with the statement that failed; then nothing was changed.
    """
    try:
        content = file.read_bytes()
    except OSError as problem:
        raise DatabaseError(f"{file} cannot be read: {problem.strerror}.") from problem
    statements = split(content, file.name)
    cluster = production.cluster_of(project)
    cluster.start()
    user = roles.names(project.settings.name)["deployer"]
    dsn = cluster.dsn(project.settings.name, user, project.secret("production deployer"))
    with connect_to(dsn, autocommit=False) as connection:
        if connection.execute(
            "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'seatrial') LIMIT 1"
        ).fetchone():
            raise DatabaseError("Production is not empty.", hint=f"Propose the change: seatrial db propose {file}")
        for statement in statements:
            try:
                one_statement(connection, statement.text)
            except psycopg.Error as problem:
                raise DatabaseError(explain(problem, f"{file.name}, line {statement.line}").message) from problem
    drift.record(project, target.schema(project))
    project.audit.write("production.load", file.name, statements=len(statements))
    return len(statements)


def url(project: Project, branch: str = "", role: str = "") -> str:
    """Return the URL for clients, as `DATABASE_URL`: of a branch, or of production (`rw` or `ro` only).

    Starts the service when it does not run.  Raises BranchError for a role that is not given out.
    """
    service = control.up(project)
    if branch and branch != production.EMBEDDED:
        found = branches.find(project, branch)
        kind = role or "owner"
        _check_role(kind, branches.KINDS)
        user, password = found.role(kind), branches.password(project, found, kind)
    else:
        kind = role or "rw"
        _check_role(kind, ("rw", "ro"))
        if not production.source_of(project).embedded:
            raise BranchError("Production is elsewhere; its URL is the application's own.", hint="Name a --branch.")
        user, password = roles.names(project.settings.name)[kind], project.secret(f"production {kind}")
    return f"postgresql://{user}:{quote(password)}@127.0.0.1:{service.port}/{project.settings.name}"


def connect(branch: str = "", role: str = "", *, folder: Path | None = None, **options: Any) -> psycopg.Connection[Any]:
    """Connect to a branch (or to production) of the project of `folder`, as `url` says; an ordinary psycopg connection.

    Raises PostgresError when the server cannot be reached.
    """
    return connect_to(url(find_project(folder), branch, role), pinned={}, **{"autocommit": False, **options})


def psql_arguments(address: str) -> tuple[str, dict[str, str]]:
    """Return a URL without its password, and the environment that carries it: command lines are seen by everybody."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    password = unquote(parts.password or "")
    return parts._replace(netloc=f"{parts.username}@{host}").geturl(), {"PGPASSWORD": password}


def serve_mcp(address: str) -> None:
    """Serve the branch of a URL as tools for an agent on standard input and output, until the client goes.

    Raises MissingExtraError without the package `mcp`.
    """
    try:
        from seatrial.database import mcp_server
    except ModuleNotFoundError as problem:
        raise MissingExtraError(str(problem.name).partition(".")[0], "mcp") from problem
    mcp_server.serve(address)


def branch_facts(project: Project, branch: Branch) -> dict[str, Any]:
    """Return what there is to say about a branch, for people and programs; no password."""
    cluster = branches.cluster_of(project, branch)
    parent = next((b.name for b in branches.all_branches(project) if b.id == branch.parent), production.EMBEDDED)
    return {
        "id": branch.id,
        "name": branch.name,
        "state": "awake" if branch.state == "ready" and cluster.pid() else branch.state,
        "parent": parent,
        "snapshot": branch.snapshot,
        "data_of": snapshot.taken if (snapshot := project.records.get(Snapshot, branch.snapshot)) else "",
        "kept": holds.keeps(project, branch) if durations.has_passed(branch.expires) else "",
        "strategy": branch.strategy,
        "masked": bool(branch.masked),
        "schema_only": branch.schema_only,
        "created": branch.created,
        "expires": branch.expires,
        "owner": branch.owner,
        "git_branch": branch.git_branch,
        "seconds": branch.seconds,
    }


def _check_role(kind: str, allowed: tuple[str, ...]) -> None:
    if kind not in allowed:
        reason = " Production's owner works through the gate." if kind == "owner" else ""
        raise BranchError(f"The role is one of {', '.join(allowed)}, not {kind}.{reason}", hint="seatrial db propose")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in ("postgres", "template0", "template1", "seatrial"):
        raise DatabaseError(
            f"{name!r} cannot be the name of the database.", hint="Up to 40 of a-z, 0-9, _, beginning with a letter."
        )
