"""The embedded production server: made once, kept running, reached by the application and by the apply step."""

from __future__ import annotations

import shutil
from pathlib import Path

from seatrial import paths
from seatrial.database import copying, place, roles
from seatrial.database.gate import ledger
from seatrial.database.postgres import Cluster, Installation
from seatrial.database.postgres.cluster import create
from seatrial.database.postgres.connection import run
from seatrial.database.project import Project
from seatrial.database.records import Source
from seatrial.database.steps import step
from seatrial.errors import SourceError

EMBEDDED = "production"
"""The name of the source that is the project's own server."""
_SETTINGS = {"shared_buffers": "128MB", "max_connections": "100", "max_wal_size": "1GB"}


def cluster_of(project: Project) -> Cluster:
    """Return the embedded production cluster; SourceError when the project has none."""
    source = project.records.get(Source, EMBEDDED)
    if source is None or source.state != "ready":
        raise SourceError("This project has no production server of its own.", hint="seatrial db init")
    return Cluster(project.production, project.installation, project.secret("superuser of production"), _SETTINGS)


def source_of(project: Project) -> Source:
    """Return the one source of a project: its own server, or the database that was added by URL.

    Raises SourceError when there is none.
    """
    found = project.records.all(Source, "ready", "registered", "refreshed")
    if not found:
        raise SourceError(
            "This project has no production.", hint="seatrial db init makes a server; seatrial db source add NAME URL"
        )
    return found[0]


def create_production(project: Project) -> Source:
    """Make the production server, its database and its roles, and start it; an attempt that was killed begins anew."""
    with paths.locked(project.lock("production")):
        known = project.records.get(Source, EMBEDDED)
        if known and known.state == "ready":
            return known
        source = project.records.put(
            Source(EMBEDDED, "creating", name=EMBEDDED, embedded=True, database=project.settings.name)
        )
        half = Cluster(project.production, project.installation, project.secret("superuser of production"), _SETTINGS)
        half.stop(immediate=True)
        copying.remove(project.production)
        step("production.begun")
        cluster = copy_blank(project, project.production, half.password)
        cluster = Cluster(cluster.folder, cluster.installation, half.password, _SETTINGS)
        cluster.start()
        step("production.started")
        passwords = {kind: project.secret(f"production {kind}") for kind in ("deployer", "rw", "ro")}
        with cluster.connect() as connection:
            version = connection.info.server_version
            roles.create_production_roles(connection, source.database, passwords)
        with cluster.connect(source.database) as connection:
            connection.execute("ALTER SCHEMA public OWNER TO pg_database_owner")
            roles.grant_production_defaults(connection, source.database)
            ledger.create(connection, roles.names(source.database)["deployer"])
        step("production.made")
        source = project.records.put(source, state="ready", server_version=f"{version // 10000}.{version % 10000}")
        project.audit.write("production.create", EMBEDDED, server=source.server_version)
    return source


def copy_blank(project: Project, target: Path, password: str, installation: Installation | None = None) -> Cluster:
    """Make an empty cluster in `target` from one that is kept for that, and give its superuser `password`."""
    installation = installation or project.installation
    blank = blank_cluster(project, installation)
    place.server_folder(target)
    copying.copy_data(blank.data, target / "data", copying.probe(target.parent))
    cluster = Cluster(target, installation, blank.password)
    cluster.start()
    with cluster.connect() as connection:
        run(connection, "ALTER ROLE CURRENT_USER PASSWORD {password}", password=password)
    cluster.stop()
    return Cluster(target, installation, password)


def blank_cluster(project: Project, installation: Installation) -> Cluster:
    """Return the empty cluster that new ones are copied from, making it once for each version."""
    place.server_folder(project.clusters)
    name = f"blank-{installation.version[0]}.{installation.version[1]}"
    folder = project.clusters / name
    with paths.locked(project.clusters / f".{name}"):
        if not project.has_secret(name) or not (folder / "data" / "PG_VERSION").exists():
            shutil.rmtree(folder, ignore_errors=True)
            made = create(folder, installation)
            project.set_secret(name, made.password)
    return Cluster(folder, installation, project.secret(name))
