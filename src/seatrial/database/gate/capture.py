"""The change that a migration tool makes: run the tool on a fresh branch, and take what it had the server do.

The branch's server writes every statement down, with its parameters, and whether it worked.  What was committed and
changes something becomes the change; that it does the same again is proved where it is measured, by the fingerprint of
the schema that the tool has left.
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
from dataclasses import replace

from seatrial.database import access, branches, place
from seatrial.database.gate import target
from seatrial.database.gate.propose import Change, fresh_snapshot
from seatrial.database.gate.statement_log import committed
from seatrial.database.postgres import connect
from seatrial.database.project import Project
from seatrial.errors import ProposalError

TOOLS: tuple[tuple[str, str], ...] = (
    ("alembic.ini", "alembic upgrade head"),
    ("manage.py", "python manage.py migrate"),
    ("prisma/schema.prisma", "npx prisma migrate deploy"),
    ("drizzle.config.ts", "npx drizzle-kit migrate"),
    ("drizzle.config.js", "npx drizzle-kit migrate"),
    ("flyway.toml", "flyway migrate"),
    ("flyway.conf", "flyway migrate"),
)
"""A file that shows which tool a project uses, and the command that brings a database up to date."""
_LOGGING = {
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_filename": "statements.log",
    "log_statement": "all",
    "log_parameter_max_length": "-1",
    "log_error_verbosity": "default",
    "log_min_error_statement": "error",
    "log_file_mode": "0600",
}


def tool_of(project: Project) -> str:
    """Return the command of the migration tool that the project uses; ProposalError when none is recognised."""
    for sign, command in TOOLS:
        if (project.root / sign).exists():
            return command
    raise ProposalError(
        f"{project.root} uses no migration tool that is known ({', '.join(sign for sign, _ in TOOLS)}).",
        hint='Name the command: --run "COMMAND"',
    )


def capture(project: Project, command: str, *, title: str = "") -> Change:
    """Run `command` in the project's folder, with DATABASE_URL for a fresh branch, and return what it did as a change.

    Raises ProposalError when the command fails or changes nothing.
    """
    snapshot = fresh_snapshot(project, needs_fresh_rows=False)
    wish = branches.Wish(f"capture-{secrets.token_hex(4)}", at=snapshot.id, ttl="1h", owner="a migration tool")
    scratch = branches.create(project, wish)
    try:
        cluster = branches.cluster_of(project, scratch)
        cluster.stop()
        log = cluster.folder / "statements"
        log.mkdir(mode=0o700)
        place.own(log)
        replace(cluster, settings={**_LOGGING, "log_directory": str(log)}).start()
        _run(project, command, access.url(project, scratch.name))
        with connect(branches.dsn(project, scratch)) as connection:
            result = target.schema_of(project, connection)
        cluster.stop()
        statements = committed((log / "statements.json").read_bytes(), scratch.role("owner"))
    finally:
        branches.delete(project, scratch.name)
    if not statements:
        raise ProposalError(f"{command!r} changes nothing.", hint="There is nothing to propose.")
    text = "\n;\n".join(statements)
    return Change(text, title or command, command, expected=target.keep(project, result))


def _run(project: Project, command: str, url: str) -> None:
    address, secret = access.psql_arguments(url)
    host = address.rpartition("@")[2]
    environment = {
        **os.environ,
        **secret,
        "DATABASE_URL": url,
        "PGHOST": host.partition(":")[0],
        "PGPORT": host.partition(":")[2].partition("/")[0],
        "PGDATABASE": project.settings.name,
        "PGUSER": address.partition("//")[2].partition("@")[0],
    }
    words = shlex.split(command)
    try:
        done = subprocess.run(words, cwd=project.root, env=environment, capture_output=True, text=True, check=False)
    except OSError as problem:
        raise ProposalError(f"{words[0]} cannot be run: {problem.strerror}.", hint="Is it installed?") from problem
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
        raise ProposalError(
            f"{command!r} fails on the branch with {done.returncode}: {said}.",
            hint="It must take the database from DATABASE_URL, or from PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE.",
        )
