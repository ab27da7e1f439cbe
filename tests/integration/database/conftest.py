"""Real servers: the newest and the oldest Postgres that are installed, each with a fresh database for a test."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

psycopg = pytest.importorskip("psycopg", reason="install with: pip install 'seatrial[database]'")

from psycopg.conninfo import make_conninfo  # noqa: E402

from seatrial import database as area  # noqa: E402
from seatrial.database.postgres import Cluster, Installation, connect, installations  # noqa: E402
from seatrial.database.postgres.cluster import create  # noqa: E402
from seatrial.database.postgres.connection import run  # noqa: E402


def oldest_and_newest() -> list[Installation]:
    found = sorted(installations(), key=lambda entry: entry.version)
    return [found[-1], found[0]] if len(found) > 1 else list(found)


INSTALLATIONS = oldest_and_newest()


@pytest.fixture(scope="session")
def database_folder() -> Iterator[Path]:
    """A folder that the servers' account can reach; pytest's own are closed to others."""
    # Memory, where there is such a place: a hundred copies of clusters are made.
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="seatrial-test-", dir=memory if os.access(memory, os.W_OK) else None))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session", params=INSTALLATIONS or [None], ids=lambda i: f"pg{i.major}" if i else "none")
def server(request: pytest.FixtureRequest, database_folder: Path) -> Iterator[Cluster]:
    """A running throw-away server."""
    if request.param is None:
        pytest.skip("no Postgres server programs are installed")
    cluster = create(database_folder / f"server-{request.param.major}", request.param)
    fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "100"}
    cluster = Cluster(cluster.folder, cluster.installation, cluster.password, fast)
    cluster.start()
    yield cluster
    cluster.stop(immediate=True)


@dataclass
class Database:
    """A fresh database; `owner` owns it and its schema public."""

    server: Cluster
    name: str
    owner: str
    password: str

    def dsn(self, role: str = "owner") -> str:
        if role == "superuser":
            return self.server.dsn(self.name)
        return make_conninfo(self.server.dsn(self.name), user=self.owner, password=self.password)

    def connect(self, role: str = "owner", **options: Any) -> psycopg.Connection:
        return connect(self.dsn(role), **options)


@pytest.fixture
def new_database(server: Cluster) -> Iterator[Any]:
    """A function that makes databases; they are dropped when the test ends."""
    made = []

    def make() -> Database:
        name = f"t{secrets.token_hex(4)}"
        database = Database(server, name, f"{name}_owner", secrets.token_urlsafe(12))
        with server.connect() as connection:
            run(connection, "CREATE ROLE {} LOGIN PASSWORD {password}", database.owner, password=database.password)
            run(connection, "CREATE DATABASE {} OWNER {}", name, database.owner)
        with server.connect(name) as connection:
            run(connection, "ALTER SCHEMA public OWNER TO {}", database.owner)
        made.append(database)
        return database

    yield make
    with server.connect() as connection:
        for database in made:
            run(connection, "DROP DATABASE {} (FORCE)", database.name)
            run(connection, "DROP ROLE {}", database.owner)


@pytest.fixture
def database(new_database: Any) -> Database:
    """One fresh database."""
    return new_database()


SHOP = """
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, name text);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint NOT NULL REFERENCES users,
                     total numeric(10, 2) NOT NULL, placed timestamptz NOT NULL DEFAULT now());
INSERT INTO users (email, name) SELECT 'user' || i || '@example.com', 'User ' || i FROM generate_series(1, 100) i;
INSERT INTO orders (user_id, total) SELECT 1 + i % 100, i FROM generate_series(1, 1000) i;
"""


@dataclass
class Home:
    """Where a project of the tests keeps its state, and its clusters."""

    state: Path
    clusters: Path
    root: Path
    postgres: str

    def environment(self) -> dict[str, str]:
        return {
            "SEATRIAL_HOME": str(self.state),
            "SEATRIAL_DB_FOLDER": str(self.clusters),
            "SEATRIAL_DB_POSTGRES": self.postgres,
        }


@pytest.fixture(scope="module", params=INSTALLATIONS or [None], ids=lambda i: f"pg{i.major}" if i else "none")
def shop_home(request: pytest.FixtureRequest, database_folder: Path) -> Iterator[Home]:
    """A project with a running production server that holds a small shop; the tests of a module share it."""
    if request.param is None:
        pytest.skip("no Postgres server programs are installed")
    folder = Path(tempfile.mkdtemp(prefix="project-", dir=database_folder))
    folder.chmod(0o711)
    home = Home(folder / "state", folder / "clusters", folder / "shop", str(request.param.major))
    home.root.mkdir()
    (home.root / "shop.sql").write_text(SHOP)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in home.environment().items():
            patch.setenv(name, value)
        project = area.init(home.root, name="shop", load=home.root / "shop.sql")
        project.records.close()
        try:
            yield home
        finally:
            project = area.find_project(home.root)
            area.down(project)
            project.records.close()


@pytest.fixture
def shop(shop_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[area.Project]:
    """The shop, opened for one test; branches that the test leaves are removed."""
    for name, value in shop_home.environment().items():
        monkeypatch.setenv(name, value)
    project = area.find_project(shop_home.root)
    yield project
    for branch in reversed(area.all_branches(project)):
        area.delete_branch(project, branch.name)
    project.records.close()
