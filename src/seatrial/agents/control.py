"""The control socket: the few verbs that `seatrial-agent` has inside of a sandbox.

The socket is this agent's own, so whoever speaks through it is this agent, whatever it says.  All that comes in is
untrusted: one line of JSON, limited in size and rate, answered by one line.  Does not protect an agent from processes
that it runs itself: they may speak in its name.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from seatrial.agents import mailbox
from seatrial.agents.project import Project
from seatrial.agents.terminal import plain
from seatrial.errors import MessageError, SeatrialError

_MOST_LINE = 256 << 10
_MOST_CONNECTIONS = 32
_MOST_MESSAGES_A_MINUTE, _MOST_CALLS_A_MINUTE = 120, 600
_MOST_WAIT_SECONDS = 3600.0

See = Callable[[str, dict[str, Any]], None]
Spawn = Callable[[str, str], Awaitable[str]]


class Control:
    """Serves one agent's control socket.  `see` is told what the agent says of itself, `spawn` starts a child."""

    def __init__(self, project: Project, name: str, see: See, spawn: Spawn) -> None:
        self._project, self._name, self._see, self._spawn = project, name, see, spawn
        self._open = 0
        self._made: dict[int, list[float]] = {}
        self._server: asyncio.Server | None = None
        self.arrived = asyncio.Event()
        """Set when there may be new messages."""

    async def serve(self, socket_file: Path) -> None:
        """Listen at `socket_file`, in place of whatever is there."""
        socket_file.unlink(missing_ok=True)
        # Through the folder's descriptor: the path may be longer than addresses of sockets are.
        folder = os.open(socket_file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            address = f"/proc/self/fd/{folder}/{socket_file.name}"
            self._server = await asyncio.start_unix_server(self._serve_one, path=address, limit=_MOST_LINE)
        finally:
            os.close(folder)
        socket_file.chmod(0o666)

    async def close(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > _MOST_CONNECTIONS:
                raise MessageError("Too many connections.")
            line = await asyncio.wait_for(reader.readline(), 30)
            answer = {"ok": True, **await self._answer(json.loads(line))}
        except SeatrialError as problem:
            answer = {"ok": False, "error": problem.message}
        except (ValueError, TypeError, KeyError, TimeoutError, RecursionError, OverflowError, OSError):
            answer = {"ok": False, "error": "One line of JSON with a known verb is expected."}
        except ConnectionError:
            return
        finally:
            self._open -= 1
        try:
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
            writer.close()
        except ConnectionError:
            return

    async def _answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        verb = str(asked["verb"])
        self._limit_rate(_MOST_CALLS_A_MINUTE)
        if verb == "inbox":
            return await self._inbox(min(float(asked.get("seconds", 0)), _MOST_WAIT_SECONDS), bool(asked.get("keep")))
        if verb == "spawn":
            name = await self._spawn(str(asked["name"]), str(asked.get("task", "")))
            return {"name": name}
        if verb == "message":
            self._limit_rate(_MOST_MESSAGES_A_MINUTE)
            sent = mailbox.send(
                self._project, self._name, str(asked["to"]), str(asked["text"]), nonce=str(asked.get("nonce") or "")
            )
            return {"ids": [message.id for message in sent]}
        if verb == "who":
            others = [
                {"name": a.name, "phase": a.phase, "activity": a.activity} for a in self._project.records.agents()
            ]
            return {"who": {"name": self._name, "agents": others}}
        if verb == "hook":
            self._see(
                "hook",
                {"event": plain(str(asked.get("event", "")))[:40], "text": _hook_text(str(asked.get("raw", "")))},
            )
            return {}
        if verb in ("ask", "blocked", "done", "status"):
            return self._say(verb, plain(str(asked.get("text", "")))[:4000])
        raise MessageError(f"There is no verb called {verb[:40]}.")

    def _say(self, verb: str, text: str) -> dict[str, Any]:
        self._limit_rate(_MOST_MESSAGES_A_MINUTE)
        self._see("asks" if verb == "ask" else verb, {"text": text})
        if verb in ("ask", "done"):
            mailbox.send(self._project, self._name, mailbox.USER, text, "asks" if verb == "ask" else "done")
        return {}

    async def _inbox(self, seconds: float, keep: bool) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while not (messages := mailbox.waiting(self._project, self._name)) and time.monotonic() < end:
            self.arrived.clear()
            try:
                await asyncio.wait_for(self.arrived.wait(), min(1.0, max(0.01, end - time.monotonic())))
            except TimeoutError:
                continue
        if messages and not keep:
            mailbox.acknowledge(self._project, self._name, messages[-1].id)
            self._see("inbox", {"upto": messages[-1].id})
        return {"messages": [message.as_dict() for message in messages]}

    def _limit_rate(self, most: int) -> None:
        """Raise MessageError past `most` calls of one kind (told apart by their limit) in a minute."""
        now = time.monotonic()
        made = [moment for moment in self._made.get(most, []) if now - moment < 60]
        if len(made) >= most:
            raise MessageError(f"More than {most} in a minute.")
        self._made[most] = [*made, now]


def _hook_text(raw: str) -> str:
    """Return what a harness's hook says in words, of the JSON that it is given."""
    try:
        values = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        return ""
    text = values.get("message") if isinstance(values, dict) else ""
    return plain(text)[:500] if isinstance(text, str) else ""
