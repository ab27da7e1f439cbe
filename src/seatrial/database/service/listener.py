"""One port on the loopback for every branch: the user name says which, its own server checks the password.

The first client of a branch that was only declared makes it; a branch that sleeps wakes up.  Nothing is decided here
about who may do what: the start-up message is passed on as it came, and the branch's server asks for the password.
The deployer of production cannot be reached this way.
"""

from __future__ import annotations

import asyncio
import logging
import re
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from seatrial.database.service.turnstile import Turnstile
from seatrial.database.service.wire import (
    CANCEL_REQUEST,
    GSS_REQUEST,
    LONGEST_STARTUP,
    SSL_REQUEST,
    KeyWatch,
    Startup,
    WireError,
    error,
    parse_startup,
)
from seatrial.errors import SeatrialError

_log = logging.getLogger("seatrial.database.service")
_BRANCH_USER = re.compile(r"b([0-9a-f]{8})_(?:owner|rw|ro)")
_STARTUP_SECONDS = 30
_MOST_SILENT, _SILENT_SECONDS = 256, 0.5
_MOST_LOGGING_IN, _LOGIN_SECONDS = 20, 1.0
_HIGH_WATER = 2**20
Wake = Callable[[str], Awaitable[Path]]


class Listener:
    """Takes clients on behalf of the servers of one project.

    `wake(target)` makes the server of a branch id, or of `production`, run, and returns its socket; it raises
    SeatrialError with the reason when it may not.
    """

    def __init__(self, wake: Wake, production_users: frozenset[str]) -> None:
        self._wake, self._production_users = wake, production_users
        self._backends: dict[bytes, Path] = {}
        self._silent = Turnstile(_MOST_SILENT, _SILENT_SECONDS)
        self._logging_in: dict[str, Turnstile] = {}
        self.clients: Counter[str] = Counter()
        """How many clients each target has now."""
        self.last_used: dict[str, float] = {}
        """When each target's last client left, by the monotonic clock."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends."""
        task = asyncio.current_task()
        assert task is not None
        try:
            self._silent.enter_anyway(task)
            async with asyncio.timeout(_STARTUP_SECONDS):
                first = await self._first_message(reader, writer)
            self._silent.leave(task)
            if isinstance(first, bytes):
                await self._cancel(first)
            elif first:
                await self._connect(first, reader, writer, task)
        except (WireError, SeatrialError) as problem:
            hint = getattr(problem, "hint", None) or ""
            writer.write(error(str(problem), hint))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        except Exception:  # the client must hear something, and the service goes on
            _log.exception("a client could not be served")
            writer.write(error("Seatrial's service failed", "See service.log in the project's state."))
        finally:
            self._silent.leave(task)
            writer.close()

    async def _first_message(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Startup | bytes | None:
        while True:
            head = await reader.readexactly(8)
            length, code = struct.unpack("!II", head)
            if not 8 <= length <= LONGEST_STARTUP:
                raise WireError("this is not a client of PostgreSQL")
            raw = head + await reader.readexactly(length - 8)
            if code in (SSL_REQUEST, GSS_REQUEST):
                writer.write(b"N")  # the loopback needs no encryption
                continue
            return raw if code == CANCEL_REQUEST else parse_startup(raw)

    def _target(self, user: str) -> str:
        match = _BRANCH_USER.fullmatch(user)
        if match:
            return match[1]
        if user in self._production_users:
            return "production"
        raise WireError(f"no branch has a user {user}")

    async def _connect(
        self, startup: Startup, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[Any]
    ) -> None:
        target = self._target(startup.parameters.get("user", ""))
        self.clients[target] += 1
        try:
            socket = await self._wake(target)
            login = self._logging_in.setdefault(target, Turnstile(_MOST_LOGGING_IN, _LOGIN_SECONDS))
            await login.enter(task)
            watch = KeyWatch()
            try:
                upstream_reader, upstream = await asyncio.open_unix_connection(str(socket))
                try:
                    upstream.write(startup.raw)
                    answers = self._pass_answers(upstream_reader, writer, watch, socket, lambda: login.leave(task))
                    await _both(answers, _pass_on(reader, upstream))
                finally:
                    self._backends.pop(watch.key, None)
                    upstream.close()
            finally:
                login.leave(task)
                self.last_used[target] = time.monotonic()
        finally:
            self.clients[target] -= 1
            if not self.clients[target]:
                del self.clients[target]

    async def _pass_answers(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        watch: KeyWatch,
        socket: Path,
        is_in: Callable[[], None],
    ) -> None:
        while not watch.is_done and (data := await reader.read(2**16)):
            watch.feed(data)
            if watch.key:
                self._backends[watch.key] = socket
            writer.write(data)
            await writer.drain()
        is_in()
        await _pass_on(reader, writer)

    async def _cancel(self, request: bytes) -> None:
        socket = self._backends.get(request[8:])
        if socket:
            _, upstream = await asyncio.open_unix_connection(str(socket))
            upstream.write(request)
            await upstream.drain()
            upstream.close()


async def _both(*work: Awaitable[None]) -> None:
    """Run all until the first ends, as a connection ends when one side does."""
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        if writer.transport.get_write_buffer_size() > _HIGH_WATER:
            await writer.drain()
    await writer.drain()
