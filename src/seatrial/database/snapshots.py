"""Golden copies: frozen, stopped clusters, with nothing in them that still works in production.

Branches are copied from them, so making a branch never touches production, needs no recovery, and two branches made at
the same moment do not wait for each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from seatrial.database import catalog, copying, place, production, roles
from seatrial.database.durations import now
from seatrial.database.masking import policy
from seatrial.database.postgres import Cluster
from seatrial.database.postgres.cluster import SUPERUSER, trim_wal
from seatrial.database.postgres.connection import OWN_NAMES, explain, explained, run
from seatrial.database.project import Project
from seatrial.database.records import Branch, Snapshot, Source
from seatrial.database.steps import step
from seatrial.errors import MaskingError, SourceError

Progress = Callable[[int, int], None]
_LEFT_OUT = ("role", "membership", "setting", "database", "subscription", "user mapping")


def cluster_of(project: Project, snapshot: Snapshot) -> Cluster:
    """Return the cluster of a snapshot; it is not to be started while it is `ready`: branches are copied from it."""
    return Cluster(project.snapshots / snapshot.id, project.installation, project.secret("superuser of branches"))


def newest(project: Project, source: str = "", *, schema_only: bool = False) -> Snapshot | None:
    """Return the newest golden copy of a source (default: production) that was masked as the policy of now says.

    Raises MaskingError when the policy cannot be read.
    """
    source, masked = source or production.source_of(project).id, policy.current_hash(project)
    ready = [s for s in project.records.all(Snapshot, "ready") if s.source == source and not s.branch]
    found = [s for s in ready if s.masked == masked and s.schema_only == schema_only]
    return max(found, key=lambda snapshot: snapshot.taken, default=None)


def check_masked(project: Project, snapshot: Snapshot) -> None:
    """Raise MaskingError when there is a policy and the snapshot was not masked by it."""
    wanted = policy.current_hash(project)
    if wanted and snapshot.masked != wanted:
        how = "masked by another policy" if snapshot.masked else "not masked"
        raise MaskingError(
            f"The snapshot {snapshot.name or snapshot.id} was {how}.",
            hint="Make a new branch of production; its golden copy is made by the policy of now.",
        )


def refresh_embedded(project: Project, *, progress: Progress | None = None) -> Snapshot:
    """Copy the running production server into a new golden copy, without stopping it.

    Raises SourceError when production cannot be copied; nothing half made stays behind.
    """
    source = project.records.get(Source, production.EMBEDDED)
    cluster = production.cluster_of(project)
    assert source is not None
    cluster.start()
    snapshot = project.records.put(
        Snapshot(secrets.token_hex(4), "creating", source=source.id, method="backup", taken=now())
    )
    return made(project, snapshot, lambda: _freeze(project, snapshot, cluster, source.database, progress))


def snapshot_branch(project: Project, branch: Branch, running: Cluster, name: str = "") -> Snapshot:
    """Freeze a branch as it is now, e.g. to make another branch of it."""
    parent = project.records.get(Snapshot, branch.snapshot)
    assert parent is not None
    snapshot = project.records.put(
        replace(
            parent,
            id=secrets.token_hex(4),
            state="creating",
            name=name,
            branch=branch.id,
            method="backup",
            taken=now(),
            masked=branch.masked,
            schema_only=branch.schema_only,
        )
    )
    return made(project, snapshot, lambda: _freeze(project, snapshot, running, project.settings.name, None))


def delete(project: Project, snapshot: Snapshot) -> None:
    """Remove a snapshot; the caller has made sure that nothing needs it."""
    project.records.put(snapshot, state="deleting")
    step("snapshot.deleting")
    cluster_of(project, snapshot).stop(immediate=True)
    copying.remove(project.snapshots / snapshot.id)
    project.records.remove(snapshot)


def prune(project: Project) -> list[str]:
    """Remove golden copies that are neither among the newest nor needed by a branch; return their ids."""
    used = {branch.snapshot for branch in project.records.all(Branch)}
    found = [s for s in project.records.all(Snapshot, "ready") if not s.name and s.id not in used]
    golden = sorted((s for s in found if not s.branch), key=lambda s: s.taken, reverse=True)
    doomed = [*golden[project.settings.keep_snapshots :], *(s for s in found if s.branch)]
    for snapshot in doomed:
        delete(project, snapshot)
    return [snapshot.id for snapshot in doomed]


def schema_of(connection: psycopg.Connection[Any], *, comments: bool = True) -> catalog.Schema:
    """Read the schema without what differs between production and its copies by design.

    These are roles that log in, settings, what reaches other servers, and, where data are masked, `comments`.
    """
    left_out = {roles.READERS: "", roles.WRITERS: ""}
    schema = catalog.read(connection, roles=left_out).without(*_LEFT_OUT)
    if comments:
        return schema
    kept = ({name: value for name, value in o.facets.items() if name != "comment"} for o in schema.objects.values())
    return catalog.Schema.of(
        (replace(o, facets=facets) for o, facets in zip(schema.objects.values(), kept, strict=True)), schema.origin
    )


def made(project: Project, snapshot: Snapshot, make: Callable[[], Snapshot]) -> Snapshot:
    """Run `make` and write the snapshot down as ready; whatever goes wrong, nothing of it stays."""
    try:
        with explained("The golden copy cannot be made"):
            done = make()
    except BaseException as problem:
        delete(project, snapshot)
        project.audit.write("snapshot.create", snapshot.id, "failed", reason=str(problem).splitlines()[0][:200])
        raise
    project.records.put(done, state="ready")
    project.audit.write("snapshot.create", done.id, source=done.source, method=done.method, masked=done.masked)
    return replace(done, state="ready")


def _freeze(
    project: Project, snapshot: Snapshot, source: Cluster, database: str, progress: Progress | None
) -> Snapshot:
    target = cluster_of(project, snapshot)
    place.server_folder(target.folder)
    strategy = copying.probe(project.snapshots)
    backup(source, target.data, strategy, progress)
    step("snapshot.copied")
    # The copy still has its source's superuser password.
    first = replace(target, password=source.password)
    first.start()
    with first.connect() as connection:
        run(connection, "ALTER ROLE CURRENT_USER PASSWORD {password}", password=target.password)
        if not snapshot.branch:
            roles.disarm(connection)
    step("snapshot.disarmed")
    snapshot = freeze(project, target, snapshot, database)
    return replace(snapshot, bytes=copying.size_of(target.data))


def freeze(
    project: Project, target: Cluster, snapshot: Snapshot, database: str, expected: catalog.Schema | None = None
) -> Snapshot:
    """Open a running copy to readers and writers, take its fingerprint, and stop it for good.

    Raises SourceError, naming what differs, when its schema is not the `expected` one.
    """
    with target.connect(database, pinned=without_event_triggers(target)) as connection:
        if snapshot.branch:
            _drop_branch_roles(connection, next(iter(snapshot.owners), SUPERUSER))
        else:
            _cut_ties(connection)
            run(connection, "DROP SCHEMA IF EXISTS {} CASCADE", roles.INBOX)
            connection.execute(INBOX)
        owners = roles.open_copy(connection, database)
        version = connection.info.server_version
        schema = schema_of(connection, comments=not snapshot.masked)
    if expected is not None:
        snapshot = _compared(snapshot, expected, schema)
    with target.connect() as connection:
        connection.execute("CHECKPOINT")
    target.stop()
    trim_wal(target)
    step("snapshot.stopped")
    target.log.unlink(missing_ok=True)
    return replace(
        snapshot,
        fingerprint=schema.fingerprint,
        owners=owners,
        server_version=f"{version // 10000}.{version % 10000}",
    )


def without_event_triggers(cluster: Cluster) -> dict[str, str]:
    """Return the settings of a superuser's session in a copy.

    Event triggers run with the rights of whoever changes something, which there is the superuser.
    """
    quiet = {"event_triggers": "off"} if cluster.installation.major >= 17 else {"session_replication_role": "replica"}
    return {**OWN_NAMES, **quiet}


def _compared(snapshot: Snapshot, expected: catalog.Schema, found: catalog.Schema) -> Snapshot:
    changes = catalog.diff(expected, found)
    harmful = [change for change in changes if change.kind != "extension" or set(change.facets) != {"version"}]
    if harmful:
        raise SourceError(
            f"The copy's schema is not the source's: {' '.join(change.sentence for change in harmful[:5])}",
            hint="Something in the schema cannot be dumped and restored; change it in the source.",
        )
    notes = [snapshot.reason, *(f"{change.sentence}" for change in changes)]
    return replace(snapshot, reason=" ".join(note for note in notes if note))


def backup(source: Cluster, target: Path, strategy: str, progress: Progress | None = None) -> copying.Copied:
    """Copy the data folder of a running server under the backup API, with the WAL that makes the copy consistent.

    Raises SourceError when the server refuses, StorageError when the disk does.
    """
    total = copying.size_of(source.data) if progress else 0
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        if progress:
            progress(done, max(total, done))

    try:
        with source.connect() as connection:
            # A temporary slot: WAL that the copy needs is not recycled while a slow copy goes on.
            connection.execute("SELECT pg_catalog.pg_create_physical_replication_slot('seatrial_copy', true, true)")
            connection.execute("SELECT pg_catalog.pg_backup_start('seatrial', true)")
            copied = copying.copy_data(source.data, target, strategy, wal=False, progress=count)
            row = connection.execute("SELECT labelfile FROM pg_catalog.pg_backup_stop(false)").fetchone()
    except psycopg.Error as problem:
        raise SourceError(explain(problem, "Production cannot be copied").message) from problem
    assert row is not None
    label = target / "backup_label"
    label.write_text(row[0])
    place.own(label)
    copying.copy_files(source.data / "pg_wal", target / "pg_wal", strategy)
    return copied


INBOX = """
CREATE SCHEMA seatrial;
CREATE TABLE seatrial.inbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, author name NOT NULL DEFAULT session_user,
  left_at timestamptz NOT NULL DEFAULT now(), title text NOT NULL, sql text NOT NULL);
COMMENT ON TABLE seatrial.inbox IS 'Leave a proposed change here: INSERT INTO seatrial.inbox (title, sql) VALUES (…)';
GRANT USAGE ON SCHEMA seatrial TO PUBLIC;
GRANT INSERT (title, sql), SELECT ON seatrial.inbox TO PUBLIC;
GRANT SELECT ON SEQUENCE seatrial.inbox_id_seq TO PUBLIC;
"""
"""Where whoever has a branch leaves proposals: the branch's URL is all that an agent needs."""


def _cut_ties(connection: psycopg.Connection[Any]) -> None:
    """Take out what would reach other servers: subscriptions, user mappings, publications' slots are gone already."""
    for (name,) in connection.execute("SELECT subname FROM pg_catalog.pg_subscription").fetchall():
        run(connection, "ALTER SUBSCRIPTION {} DISABLE", name)
        run(connection, "ALTER SUBSCRIPTION {} SET (slot_name = NONE)", name)
        run(connection, "DROP SUBSCRIPTION {}", name)
    mappings = "SELECT usename, srvname FROM pg_catalog.pg_user_mappings"
    for user, server in connection.execute(mappings).fetchall():
        if user == "public":
            run(connection, "DROP USER MAPPING FOR PUBLIC SERVER {}", server)
        else:
            run(connection, "DROP USER MAPPING FOR {} SERVER {}", user, server)


def _drop_branch_roles(connection: psycopg.Connection[Any], heir: str) -> None:
    found = connection.execute("SELECT rolname FROM pg_catalog.pg_roles WHERE rolname ~ '^b[0-9a-f]{8}_'").fetchall()
    for (name,) in found:
        # These names have no meaning elsewhere: what they own, which may be all, goes to the schema's owner.
        run(connection, "REASSIGN OWNED BY {} TO {}", name, heir)
        run(connection, "DROP OWNED BY {}", name)
        run(connection, "DROP ROLE {}", name)
