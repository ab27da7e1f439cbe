"""The source of a project that is a database by URL: added, shown, removed.  Its addresses are secrets."""

from __future__ import annotations

import re
import secrets
from typing import Any

from seatrial import paths
from seatrial.database import production, snapshots
from seatrial.database.gate import ledger
from seatrial.database.postgres import connect
from seatrial.database.postgres.connection import explained
from seatrial.database.project import Project
from seatrial.database.records import Branch, Snapshot, Source
from seatrial.database.sources import address
from seatrial.errors import SourceError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def add(project: Project, name: str, url: str, *, deployer: str = "") -> Source:
    """Take the database at `url` as the project's production; `deployer` is the address that changes are applied by.

    Both are tried out before anything is written down.  The deployer's makes the ledger's schema `seatrial` in that
    database.  Raises SourceError for a bad name or address, a second source, or a version that cannot be copied, and
    PostgresError when the server cannot be reached.
    """
    if not _NAME.fullmatch(name) or name == production.EMBEDDED:
        raise SourceError(
            f"{name!r} cannot be the name of a source.",
            hint=f"Up to 40 of A-Z, a-z, 0-9, . _ -; `{production.EMBEDDED}` is the project's own server.",
        )
    parts = address.parsed(url)
    with paths.locked(project.lock("production")):
        known = project.records.all(Source)
        if known:
            raise SourceError(
                f"The production of this project is {known[0].name}; there can be one.",
                hint=f"seatrial db source remove {known[0].name}"
                if not known[0].embedded
                else "Use another folder for another production.",
            )
        with address.open_for_reading(url) as connection:
            check_version(project, connection.info.server_version)
            version = connection.info.server_version
        if deployer:
            _prepare_deployer(deployer, str(parts["dbname"]))
        source = Source(
            secrets.token_hex(4),
            "registered",
            name=name,
            embedded=False,
            database=str(parts["dbname"]),
            server_version=f"{version // 10000}.{version % 10000}",
        )
        project.set_secret(address.secret_name(source), url)
        project.set_secret(address.secret_name(source, "deployer"), deployer)
        source = project.records.put(source)
        project.audit.write("source.add", name, server=source.server_version, deployer=bool(deployer))
    return source


def check_version(project: Project, version: int) -> None:
    """Raise SourceError when the programs of this project cannot copy a server of that version (as libpq has it)."""
    major, mine = version // 10000, project.installation.major
    if major < address.OLDEST:
        raise SourceError(
            f"The source is Postgres {major}; {address.OLDEST} is the oldest that can be copied.",
            hint="Upgrade that server.",
        )
    if major > mine:
        raise SourceError(
            f"The source is Postgres {major}, newer than the Postgres {project.installation.name} of this project.",
            hint=f"Install Postgres {major}, and set [db] postgres to it.",
        )


def find(project: Project, name: str) -> Source:
    """Return a source by name; SourceError else."""
    for source in project.records.all(Source):
        if source.name == name:
            return source
    known = ", ".join(source.name for source in project.records.all(Source)) or "none"
    raise SourceError(f"There is no source {name}.", hint=f"Known: {known}.")


def remove(project: Project, name: str) -> Source:
    """Forget a source with its addresses and golden copies; SourceError while branches come from it."""
    source = find(project, name)
    if source.embedded:
        raise SourceError("The project's own server is not removed.", hint="seatrial db down stops it.")
    copies = [copy for copy in project.records.all(Snapshot) if copy.source == source.id]
    used = [branch.name for branch in project.records.all(Branch) if branch.snapshot in {copy.id for copy in copies}]
    if used:
        raise SourceError(f"{', '.join(used)} come from {name}.", hint="Delete these branches first.")
    with paths.locked(project.lock("refresh")):
        for copy in copies:
            snapshots.delete(project, copy)
        for kind in ("url", "deployer"):
            project.set_secret(address.secret_name(source, kind), "")
        project.records.remove(source)
        project.audit.write("source.remove", name)
    return source


def facts(project: Project, source: Source) -> dict[str, Any]:
    """Return what there is to say about a source, for people and programs: no password, no address."""
    copies = [c for c in project.records.all(Snapshot, "ready") if c.source == source.id and not c.branch]
    latest = max(copies, key=lambda copy: copy.taken, default=None)
    parts = {} if source.embedded else address.parsed(project.secret(address.secret_name(source)))
    return {
        "name": source.name,
        "state": source.state,
        "embedded": source.embedded,
        "host": parts.get("host", "") or ("its own server" if source.embedded else "local"),
        "user": parts.get("user", ""),
        "database": source.database,
        "server_version": source.server_version,
        "deployer": source.embedded or project.has_secret(address.secret_name(source, "deployer")),
        "refreshed": latest.taken if latest else "",
        "masked": bool(latest and latest.masked),
        "note": latest.reason if latest else "",
    }


def _prepare_deployer(url: str, database: str) -> None:
    parts = address.parsed(url)
    if parts["dbname"] != database:
        raise SourceError(f"The deployer's address is of the database {parts['dbname']}, not of {database}.")
    with connect(url) as connection:
        address.act_as_owner(connection)
        connection.execute("RESET ROLE")
        with explained("The ledger cannot be made"):
            ledger.create(connection)
