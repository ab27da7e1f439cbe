"""Looking at and reaching into agents: terminal, logs, events, commands, ports."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seatrial.agents import place
from seatrial.agents.project import Project
from seatrial.agents.records import Event
from seatrial.agents.runtime.base import open_runtime
from seatrial.agents.runtime.plan import GATEWAY_PORT
from seatrial.agents.sandbox import enter
from seatrial.agents.specification import AgentSpec
from seatrial.agents.terminal import Terminal, plain
from seatrial.agents.work import Within
from seatrial.errors import AgentError, SandboxError

_LISTENING = "0A"
_PIECE = 1 << 16


@dataclass(frozen=True)
class Port:
    """A port that something inside listens on; `program` is empty when it cannot be told."""

    number: int
    address: str
    program: str


def look(project: Project, name: str, history: int = 0) -> str:
    """Return what an agent's terminal shows, or showed last, as plain text."""
    project.records.agent(name)
    terminal = Terminal(project.agent(name).socket("tmux"))
    if terminal.is_open():
        return terminal.screen(history)
    last = project.agent(name).path / "screen.txt"
    lines = last.read_text().rstrip().splitlines() if last.is_file() else []
    return "\n".join(lines[-(40 + history) :]) + "\n"


def attach(project: Project, name: str, *, read_only: bool = False) -> int:
    """Show an agent's terminal in this one until it is left (C-b d); returns tmux's exit code.

    Raises AgentError when the agent does not run.
    """
    record = project.records.agent(name)
    terminal = Terminal(project.agent(name).socket("tmux"))
    if not terminal.is_open():
        raise AgentError(
            f"The agent {name} is {record.phase}, it has no terminal.", hint=f"seatrial agent resume {name}"
        )
    return subprocess.call(terminal.attach_command(read_only=read_only))


def logs(project: Project, name: str, *, lines: int = 100, follow: bool = False) -> Iterator[str]:
    """Yield the last lines that the terminal printed, without control sequences; with `follow`, then what comes."""
    project.records.agent(name)
    log = project.agent(name).log
    if not log.is_file():
        return
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - (lines + 1) * 400))
        text = plain(stream.read().decode(errors="replace").replace("\r", "\n"))
        yield "\n".join(text.splitlines()[-lines:]) + "\n"
        while follow:
            if piece := stream.read(_PIECE):
                yield plain(piece.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n"))
            elif project.records.agent(name).phase in ("stopped", "error", "created"):
                return
            else:
                time.sleep(0.1)


def events(project: Project, name: str | None, *, limit: int = 100, follow: bool = False) -> Iterator[Event]:
    """Yield the newest events in order; with `follow`, then each as it happens."""
    last = 0
    for event in project.records.events(name, limit=limit):
        last = event.id
        yield event
    while follow:
        for event in project.records.events(name, after=last or -1):
            last = event.id
            yield event
        time.sleep(0.05)


def execute(project: Project, name: str, command: Sequence[str]) -> int:
    """Run a command in an agent's sandbox, on this process's own streams; returns its exit code.

    In a sandbox of its own when the agent is stopped.
    """
    return Within(project, name).attached(command)


def ports(project: Project, name: str) -> list[Port]:
    """Return what listens inside, the gateway left out; SandboxError when the agent does not run."""
    who = _inhabitant(project, name)
    found: dict[int, tuple[str, str]] = {}
    for file in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{who.pid}/net/{file}").read_text().splitlines()[1:]:
                part = line.split()
                address, _, port = part[1].rpartition(":")
                if part[3] == _LISTENING and int(port, 16) != GATEWAY_PORT:
                    found.setdefault(int(port, 16), (_written(address), part[9]))
    programs = _programs(who, {inode for _, inode in found.values()})
    return [Port(port, address, programs.get(inode, "")) for port, (address, inode) in sorted(found.items())]


def _written(address: str) -> str:
    if len(address) == 8:
        return ".".join(str(int(address[i : i + 2], 16)) for i in (6, 4, 2, 0))
    return "::" if not address.strip("0") else "::1" if address.endswith("01000000") else "[ipv6]"


def _programs(who: enter.Inhabitant, inodes: set[str]) -> dict[str, str]:
    from seatrial.agents.runtime.running import processes_of

    found: dict[str, str] = {}
    for pid in processes_of(who.pid):
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inode = str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]")
                    if inode in inodes:
                        found[inode] = plain(Path(f"/proc/{pid}/comm").read_text().strip())
    return found


async def forward(project: Project, name: str, port: int, local: int, ready: Callable[[str], None]) -> None:
    """Show a port inside at `http://127.0.0.1:LOCAL` (0: any) here until cancelled; `ready` is given the address.

    Raises SandboxError when the agent does not run.  Whoever can connect to this machine's loopback can use it.
    """
    _inhabitant(project, name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inside = enter.connection_inside(_inhabitant(project, name), port)
            there = await asyncio.open_connection(sock=inside)
        except (SandboxError, OSError):
            writer.write(b"HTTP/1.0 502 Bad Gateway\r\nContent-Type: text/plain\r\n\r\nNothing listens there.\n")
            writer.close()
            return
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", local)
    ready(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async for piece in _pieces(reader):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(_PIECE):
        yield piece


def _inhabitant(project: Project, name: str) -> enter.Inhabitant:
    record = project.records.agent(name)
    spec = AgentSpec.from_dict(record.spec)
    return open_runtime(spec.runtime).inhabitant(place.sandbox_plan(project, spec, record.workspace))
