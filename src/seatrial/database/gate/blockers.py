"""Who is in the way: seen by a second connection while the first one waits for its lock."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import psycopg

from seatrial.database.gate import target
from seatrial.database.project import Project
from seatrial.errors import PostgresError

_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Blocker:
    """A session that holds what is waited for."""

    pid: int
    user: str
    application: str
    state: str

    def __str__(self) -> str:
        return (
            f"process {self.pid} ({self.user or 'unknown'}, {self.application or 'unnamed'}, {self.state or 'unknown'})"
        )


class Watch:
    """While the block runs, notes who blocks `connection`; looking fails silently, as it is only for the message."""

    def __init__(self, project: Project, connection: psycopg.Connection[Any]) -> None:
        self._project, self._pid = project, connection.info.backend_pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.found: list[Blocker] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        if self._stop.wait(_LOOK_SECONDS):
            return  # most changes get their locks at once
        try:
            with target.look(self._project) as connection:
                while not self._stop.wait(_LOOK_SECONDS):
                    self._note(connection)
        except (psycopg.Error, PostgresError):
            return

    def _note(self, connection: psycopg.Connection[Any]) -> None:
        rows = connection.execute(
            "SELECT a.pid, a.usename, a.application_name, a.state FROM pg_catalog.pg_stat_activity a"
            " WHERE a.pid = ANY(pg_catalog.pg_blocking_pids(%s))",
            [self._pid],
        ).fetchall()
        self.found += [blocker for row in rows if (blocker := Blocker(*row)) not in self.found]
