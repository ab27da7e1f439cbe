"""What is known of the agents of a project: one SQLite file, written before anything is done.

Not the common store: a supervisor runs for each agent, and SQLAlchemy would cost each 20 MB and a tenth of a second.
Every write is one transaction that is on the disk when the call returns; a process may be killed at any line.
"""

from __future__ import annotations

import datetime
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.agents.gateway import Exchange, Usage
from seatrial.errors import AgentError, UnknownAgentError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS agents (
  name TEXT PRIMARY KEY, spec TEXT NOT NULL, phase TEXT NOT NULL, activity TEXT NOT NULL DEFAULT '',
  detail TEXT NOT NULL DEFAULT '', run INTEGER NOT NULL DEFAULT 0, started REAL NOT NULL DEFAULT 0,
  seconds REAL NOT NULL DEFAULT 0, created TEXT NOT NULL, updated TEXT NOT NULL, workspace TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY AUTOINCREMENT, agent TEXT NOT NULL, time TEXT NOT NULL, kind TEXT NOT NULL,
  facts TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_of ON events (agent, id);
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, sender TEXT NOT NULL, recipient TEXT NOT NULL, kind TEXT NOT NULL,
  text TEXT NOT NULL, created TEXT NOT NULL, delivered TEXT, acknowledged TEXT, attempts INTEGER NOT NULL DEFAULT 0,
  nonce TEXT UNIQUE);
CREATE INDEX IF NOT EXISTS messages_to ON messages (recipient, acknowledged, id);
CREATE TABLE IF NOT EXISTS exchanges (
  id TEXT PRIMARY KEY, agent TEXT NOT NULL, finished TEXT NOT NULL, input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL, cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, usd REAL,
  record TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS exchanges_of ON exchanges (agent);
"""
_VERSION = 1


@dataclass(frozen=True)
class AgentRecord:
    """One agent as it was last written down; `seconds` are those of earlier runs, `started` is of this one (Unix)."""

    name: str
    spec: dict[str, Any]
    phase: str
    activity: str
    detail: str
    run: int
    started: float
    seconds: float
    created: str
    updated: str
    workspace: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """Something that happened to an agent."""

    id: int
    agent: str
    time: str
    kind: str
    facts: dict[str, Any]


class Records:
    """An open file of records; open one in each process and thread."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.file = file
        try:
            self._db = sqlite3.connect(file, timeout=30, isolation_level=None, cached_statements=64)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version < _VERSION:
                self._db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version={_VERSION};COMMIT;")
            file.chmod(0o600)
        except sqlite3.Error as problem:
            raise AgentError(f"The records at {file} cannot be used: {problem}.", path=file) from problem
        if version > _VERSION:
            raise AgentError("The records were written by a newer Seatrial.", hint="Update this Seatrial.")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the write lock from its start; AgentError when the disk refuses."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as problem:
            raise AgentError(
                f"The records at {self.file} cannot be written: {problem}.", hint="Free some disk space."
            ) from problem

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT."""
        return self._db.execute(query, values).fetchall()

    def add_agent(self, name: str, spec: dict[str, Any]) -> None:
        """Write down a new agent; AgentError when the name is taken."""
        with self.write() as db:
            if db.execute("SELECT 1 FROM agents WHERE name = ?", (name,)).fetchone():
                raise AgentError(f"There is an agent called {name} already.", hint=f"seatrial agent show {name}")
            db.execute(
                "INSERT INTO agents (name, spec, phase, created, updated) VALUES (?, ?, 'provisioning', ?, ?)",
                (name, json.dumps(spec), now(), now()),
            )

    def agent(self, name: str) -> AgentRecord:
        """Return one agent; UnknownAgentError when there is none of that name."""
        found = self._agents("WHERE name = ?", name)
        if not found:
            raise UnknownAgentError(f"There is no agent called {name}.", hint="seatrial agent list")
        return found[0]

    def agents(self) -> list[AgentRecord]:
        """Return all agents, oldest first."""
        return self._agents("ORDER BY created, name")

    def _agents(self, rest: str, *values: Any) -> list[AgentRecord]:
        columns = "name, spec, phase, activity, detail, run, started, seconds, created, updated, workspace"
        rows = self.rows(f"SELECT {columns} FROM agents {rest}", *values)
        return [AgentRecord(*(row[0], json.loads(row[1]), *row[2:10], json.loads(row[10]))) for row in rows]

    def update_agent(self, name: str, **values: Any) -> None:
        """Write down new values of an agent; mappings become JSON."""
        values = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in values.items()}
        values["updated"] = now()
        names = ", ".join(f"{key} = :{key}" for key in values)
        with self.write() as db:
            db.execute(f"UPDATE agents SET {names} WHERE name = :_name", {**values, "_name": name})

    def remove_agent(self, name: str) -> None:
        """Forget an agent; its events and messages stay."""
        with self.write() as db:
            db.execute("DELETE FROM agents WHERE name = ?", (name,))

    def add_event(self, agent: str, kind: str, **facts: Any) -> int:
        """Write down an event and return its number."""
        with self.write() as db:
            cursor = db.execute(
                "INSERT INTO events (agent, time, kind, facts) VALUES (?, ?, ?, ?)",
                (agent, now(), kind, json.dumps(facts, default=str)),
            )
        return int(cursor.lastrowid or 0)

    def note(self, agent: str, kind: str, facts: dict[str, Any], **values: Any) -> None:
        """Write down an event and what it changed of the agent, in one transaction."""
        names = "".join(f", {key} = :{key}" for key in values)
        with self.write() as db:
            db.execute(
                "INSERT INTO events (agent, time, kind, facts) VALUES (?, ?, ?, ?)",
                (agent, now(), kind, json.dumps(facts, default=str)),
            )
            if values:
                db.execute(f"UPDATE agents SET updated = :_now{names} WHERE name = :_name",
                           {**values, "_name": agent, "_now": now()})  # fmt: skip

    def family(self, name: str) -> list[str]:
        """Return the agents that share a budget with `name`: the one that all descend from, and its descendants."""
        parents = {agent.name: agent.spec.get("parent", "") for agent in self.agents()}
        root = name
        while parents.get(root):
            root = parents[root]
        found = [root]
        for member in found:
            found += [child for child, parent in parents.items() if parent == member and child not in found]
        return found

    def events(self, agent: str | None = None, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return events in order; with `after`, those that came later than that number, else the newest `limit`."""
        where = "id > ?" + (" AND agent = ?" if agent else "")
        values = (after, agent) if agent else (after,)
        order = "ASC" if after else "DESC"
        rows = self.rows(
            f"SELECT id, agent, time, kind, facts FROM events WHERE {where} ORDER BY id {order} LIMIT {int(limit)}",
            *values,
        )
        return sorted((Event(*(*row[:4], json.loads(row[4]))) for row in rows), key=lambda event: event.id)

    def add_exchange(self, agent: str, exchange: Exchange) -> None:
        """Write down one call of a model and what it used; the same call twice counts once."""
        used = exchange.usage
        with self.write() as db:
            db.execute(
                "INSERT OR IGNORE INTO exchanges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    exchange.id, agent, exchange.finished, used.input_tokens, used.output_tokens,
                    used.cache_read_tokens, used.cache_write_tokens, used.usd,
                    json.dumps({"provider": exchange.provider, "model": exchange.model, "path": exchange.path,
                                "status": exchange.status, "stop": exchange.stop, "error": exchange.error,
                                "started": exchange.started, "recorded": exchange.recorded,
                                "requests": used.requests}),
                ),
            )  # fmt: skip

    def spent(self, *agents: str) -> Usage:
        """Return all that agents have used together; `usd` is of the calls whose price is known."""
        marks = ", ".join("?" * len(agents))
        row = self.rows(
            "SELECT COALESCE(SUM(input_tokens), 0), COALESCE(SUM(output_tokens), 0),"
            " COALESCE(SUM(cache_read_tokens), 0), COALESCE(SUM(cache_write_tokens), 0), COALESCE(SUM(usd), 0),"
            f" COUNT(*) FROM exchanges WHERE agent IN ({marks})",
            *agents,
        )[0]
        return Usage(row[0], row[1], row[2], row[3], float(row[4]), row[5])


def now() -> str:
    """Return the present time, ISO 8601 in UTC, milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
