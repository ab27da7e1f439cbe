"""Golden copies of a source: by its files where they are at hand and nothing is masked, else by dump and restore."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from seatrial import paths
from seatrial.database import catalog, copying, production, roles, snapshots
from seatrial.database.durations import now
from seatrial.database.masking import columns, coverage, policy
from seatrial.database.masking.columns import Table
from seatrial.database.masking.policy import Policy
from seatrial.database.postgres import Cluster
from seatrial.database.postgres.connection import explained, run
from seatrial.database.project import Project
from seatrial.database.records import Snapshot, Source
from seatrial.database.sources import address, dump, origin, rows, workers
from seatrial.database.sources.register import check_version
from seatrial.database.sources.workers import Ends, Progress
from seatrial.database.steps import step

SALT = "masking salt"
"""The name of the secret that masked values depend on; it is in no record and in no copy."""
LOADER = "seatrial_loader"
_LOCK_WAIT = "10s"
# Until it is frozen the copy is nobody's: what a crash leaves of it is removed.
_LOADING = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "1GB",
    "maintenance_work_mem": "128MB",
}


@dataclass(frozen=True)
class _Read:
    """What was read of a source, in the transaction that the exported `snapshot` is of."""

    snapshot: str
    schema: catalog.Schema
    origin: origin.Origin
    tables: tuple[Table, ...]
    archive: dump.Schema


def refresh(project: Project, *, schema_only: bool = False, progress: Progress | None = None) -> Snapshot:
    """Make a new golden copy of production, masked where `[db] masking` names a policy.

    Raises SourceError when the source cannot be copied, MaskingError when the policy does not cover what is there;
    then nothing half made stays.
    """
    with paths.locked(project.lock("refresh")):
        return _refresh(project, schema_only, progress)


def current(project: Project, *, schema_only: bool = False, fingerprint: str = "") -> Snapshot:
    """Return the newest golden copy (of that `fingerprint`), made now if there is none; raises what `refresh` does."""
    with paths.locked(project.lock("refresh")):
        found = snapshots.newest(project, schema_only=schema_only)
        if found is None or (fingerprint and found.fingerprint != fingerprint):
            found = _refresh(project, schema_only, None)
        return found


def refresh_by_dump(project: Project, *, progress: Progress | None = None) -> Snapshot:
    """Do what `refresh` does by dump and restore also where the files could be copied, and raise the same."""
    with paths.locked(project.lock("refresh")):
        return _by_dump(project, False, progress)


def _refresh(project: Project, schema_only: bool, progress: Progress | None) -> Snapshot:
    if production.source_of(project).embedded and not project.settings.masking and not schema_only:
        return snapshots.refresh_embedded(project, progress=progress)
    return _by_dump(project, schema_only, progress)


def _by_dump(project: Project, schema_only: bool, progress: Progress | None) -> Snapshot:
    source, masking = production.source_of(project), policy.current(project)
    snapshot = project.records.put(
        Snapshot(
            secrets.token_hex(4),
            "creating",
            source=source.id,
            method="schema" if schema_only else "dump",
            taken=now(),
            masked=masking.hash if masking else "",
            schema_only=schema_only,
        )
    )
    done = snapshots.made(project, snapshot, lambda: _copied(project, source, snapshot, masking, progress))
    if not source.embedded:
        project.records.put(source, state="refreshed")
    return done


def _copied(
    project: Project, source: Source, snapshot: Snapshot, masking: Policy | None, progress: Progress | None
) -> Snapshot:
    url, frozen = address.of(project, source), snapshots.cluster_of(project, snapshot)
    with address.open_for_reading(url) as connection, connection.transaction():
        found = _read(project, url, connection, masking, snapshot.schema_only)
        step("refresh.read")
        production.copy_blank(project, frozen.folder, frozen.password)
        target = Cluster(frozen.folder, frozen.installation, frozen.password, _LOADING)
        target.start()
        copy = target.dsn(project.settings.name)
        with target.connect() as server:
            origin.check_extensions(found.origin, server)
            sorting = origin.create_database(found.origin, server, project.settings.name)
            load = target.dsn(project.settings.name, LOADER, _create_loader(server))
        found.archive.restore("pre-data", copy)
        step("refresh.schema")
        if not snapshot.schema_only:
            ends = Ends(url, found.snapshot, load, masking, project.secret(SALT))
            workers.copy_all(ends, found.tables, rows.jobs(found.tables, masking), progress)
    step("refresh.masked")
    found.archive.restore("post-data", copy, jobs=min(os.cpu_count() or 1, 4))
    quiet = snapshots.without_event_triggers(target)
    with target.connect(project.settings.name, pinned=quiet) as server, explained("The copy cannot be finished"):
        run(server, "DROP OWNED BY {}", LOADER)
        origin.finish(found.origin, server, project.settings.name)
        server.execute("ANALYZE")
    with target.connect() as server:
        run(server, "DROP ROLE {}", LOADER)
        roles.disarm(server)
    step("refresh.finished")
    snapshot = replace(snapshot, reason=sorting)
    snapshot = snapshots.freeze(project, target, snapshot, project.settings.name, found.schema)
    return replace(snapshot, bytes=copying.size_of(target.data))


def _create_loader(server: psycopg.Connection[Any]) -> str:
    """Create the role that rows are loaded as, and return its password.

    Constraints and generated columns call the application's functions, which must not run as the superuser.
    """
    password = secrets.token_urlsafe(24)
    run(server, "CREATE ROLE {} LOGIN NOSUPERUSER BYPASSRLS PASSWORD {password}", LOADER, password=password)
    run(server, "GRANT pg_write_all_data, pg_read_all_data TO {}", LOADER)
    return password


def _read(
    project: Project, url: str, connection: psycopg.Connection[Any], masking: Policy | None, schema_only: bool
) -> _Read:
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    check_version(project, connection.info.server_version)
    tables = columns.read(connection)
    if masking and not schema_only:
        coverage.check(masking, tables)
    with _patience(connection):
        for table in tables:
            # What is copied must not change its form until it is.
            connection.execute(f"LOCK TABLE ONLY {table.identity} IN ACCESS SHARE MODE".encode())
    exported = connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchall()[0][0]
    schema = snapshots.schema_of(connection, comments=masking is None)
    archive = dump.schema(project.installation, url, exported, comments=masking is None)
    return _Read(exported, schema, origin.read(connection), tables, archive)


@contextmanager
def _patience(connection: psycopg.Connection[Any]) -> Iterator[None]:
    connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'".encode())
    yield
    connection.execute("SET LOCAL lock_timeout = 0")
