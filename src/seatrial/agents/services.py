"""Sidecar services of a template: started in the sandbox before the agent, watched, started again as they say."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.agents.sandbox import enter
from seatrial.errors import SandboxError

_READY_SECONDS = 30.0
_PAUSE_SECONDS = 1.0


@dataclass
class _Running:
    pid: int
    started: float
    restarts: int = 0


class Services:
    """The services of one sandbox; `note` is told of starts, ends and failed ready checks."""

    def __init__(
        self,
        wanted: Mapping[str, Mapping[str, Any]],
        who: enter.Inhabitant,
        environment: Mapping[str, str],
        folder: str,
        log: Path,
        note: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._wanted, self._who, self._environment, self._folder = wanted, who, environment, folder
        self._log, self._note = log, note
        self._running: dict[str, _Running] = {}

    def start(self) -> None:
        """Start all in order, each after the one before is ready; a check that fails is told, and does not stop."""
        for name, service in self._wanted.items():
            self._begin(name, service, 0)
            if not self._is_ready(name, service.get("ready", {})):
                self._note("service_not_ready", {"service": name})

    def look(self) -> None:
        """Take notice of those that ended, and start again those that shall be."""
        for name, running in list(self._running.items()):
            done, status = os.waitpid(running.pid, os.WNOHANG)
            if not done:
                continue
            code = os.waitstatus_to_exitcode(status)
            del self._running[name]
            self._note("service_ended", {"service": name, "code": code})
            again = self._wanted[name].get("restart", "no")
            if again == "always" or (again == "on-failure" and code != 0):
                time.sleep(max(0.0, min(_PAUSE_SECONDS, running.started + _PAUSE_SECONDS - time.monotonic())))
                try:
                    self._begin(name, self._wanted[name], running.restarts + 1)
                except SandboxError:
                    return

    def _begin(self, name: str, service: Mapping[str, Any], restarts: int) -> None:
        with self._log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            pid = enter.run_inside(
                self._who,
                service["command"],
                environment={**self._environment, **service.get("environment", {})},
                folder=self._folder,
                streams=(nothing.fileno(), log.fileno(), log.fileno()),
            )
        self._running[name] = _Running(pid, time.monotonic(), restarts)
        self._note("service_started", {"service": name, "restarts": restarts})

    def _is_ready(self, name: str, ready: Mapping[str, Any]) -> bool:
        if "seconds" in ready:
            time.sleep(min(float(ready["seconds"]), _READY_SECONDS))
            return True
        port = int(ready.get("tcp") or ready.get("http") or 0)
        end = time.monotonic() + float(ready.get("timeout", _READY_SECONDS))
        while port and time.monotonic() < end:
            try:
                with enter.connection_inside(self._who, port) as connection:
                    if "tcp" in ready:
                        return True
                    connection.settimeout(5)
                    connection.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
                    if connection.recv(12).startswith(b"HTTP/1."):
                        return True
            except (SandboxError, OSError):
                time.sleep(0.05)
        return not port
