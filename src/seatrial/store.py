"""State: a SQLite file by default, Postgres by URL; SQLAlchemy Core; migrations by name.

One lock discipline: every write happens inside `with store.write()`, one transaction that takes the
write lock at its start (SQLite: BEGIN IMMEDIATE, so two writers queue instead of failing half-way;
Postgres: ordinary transactions, migrations under an advisory lock).  Readers never block writers.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from seatrial import paths
from seatrial.errors import StoreError
from seatrial.settings import Settings

metadata = sa.MetaData()

migrations_done = sa.Table(
    "seatrial_migrations",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("applied", sa.DateTime(timezone=True), nullable=False),
)

Migration = Callable[[sa.Connection], None]
_migrations: dict[str, Migration] = {}
_ADVISORY_LOCK = 0x5EA7_21A1
_WAIT_FOR_LOCK_SECONDS = 30


def migration(step: Migration) -> Migration:
    """Register `step`; its function name is its key and order (m001_…, m002_…)."""
    _migrations[step.__name__] = step
    return step


@migration
def m001_evidence(connection: sa.Connection) -> None:
    """Create the table of evidence."""
    connection.execute(
        sa.text(
            "CREATE TABLE evidence (id VARCHAR PRIMARY KEY, subject VARCHAR NOT NULL, kind VARCHAR NOT NULL,"
            " outcome VARCHAR NOT NULL, finished VARCHAR NOT NULL, record TEXT NOT NULL)"
        )
    )
    connection.execute(sa.text("CREATE INDEX evidence_subject ON evidence (subject, kind, finished)"))


class Store:
    """An open state store; use `Store.open`."""

    def __init__(self, engine: sa.Engine, artefacts: Path) -> None:
        self._engine = engine
        self.artefacts = artefacts
        """Folder of content-addressed files that belong to the records."""

    @classmethod
    def open(cls, settings: Settings | None = None) -> Store:
        """Open the store of `settings` (default: SQLite in Seatrial's home) and migrate it.

        Raises StoreError when the database cannot be reached, is damaged, or is newer than this program.
        """
        home = paths.private_folder(paths.home())
        url = settings.store.url.reveal() if settings else ""
        url = url or f"sqlite:///{home / 'state.db'}"
        try:
            engine = _sqlite(url) if url.startswith("sqlite") else _postgres(url)
            store = cls(engine, home / "artefacts")
            store._migrate()
        except sa.exc.SQLAlchemyError as problem:
            raise StoreError(
                f"The state store at {_without_password(url)} cannot be opened: {_first_line(problem)}",
                hint="Check [store] url in seatrial.toml or SEATRIAL_STORE_URL, or move a damaged file away.",
            ) from problem
        return store

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that may write; committed at the end, rolled back on any exception."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One connection for reading."""
        with self._engine.connect() as connection:
            yield connection

    def _migrate(self) -> None:
        with self.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            metadata.create_all(connection, tables=[migrations_done])
            done = set(connection.scalars(sa.select(migrations_done.c.name)))
            newer = done - set(_migrations)
            if newer:
                raise StoreError(
                    f"The state store was written by a newer Seatrial (it has {', '.join(sorted(newer))}).",
                    hint="Update this Seatrial, or use another SEATRIAL_HOME.",
                )
            for name in sorted(set(_migrations) - done):
                _migrations[name](connection)
                now = datetime.datetime.now(datetime.UTC)
                connection.execute(migrations_done.insert().values(name=name, applied=now))


def _sqlite(url: str) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": _WAIT_FOR_LOCK_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def configure(raw: Any, _record: Any) -> None:
        # The driver must not open transactions by itself: `write` says BEGIN IMMEDIATE.
        raw.isolation_level = None
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA foreign_keys=ON")

    return engine


def _postgres(url: str) -> sa.Engine:
    if url.startswith(("postgres://", "postgresql://")):
        url = "postgresql+psycopg://" + url.split("://", 1)[1]
    try:
        return sa.create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError as problem:
        raise StoreError(
            f"The state store needs the Python package '{problem.name}'.",
            hint="pip install 'seatrial[postgres]'",
        ) from problem


def _without_password(url: str) -> str:
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return "the given URL"


def _first_line(problem: Exception) -> str:
    cause = getattr(problem, "orig", None) or problem
    return str(cause).strip().splitlines()[0]
