"""From log files to sessions: a reader for each agent, all with the same events."""

from __future__ import annotations

from seatrial.canary.events import AgentName, Session
from seatrial.canary.readers import claude_code, codex, gemini
from seatrial.canary.readers.lines import Stream

AGENTS: tuple[AgentName, ...] = ("claude_code", "codex", "gemini", "opencode")
_READERS = {"claude_code": claude_code.read, "codex": codex.read, "gemini": gemini.read}


def read(agent: AgentName, stream: Stream, name: str) -> Session:
    """Return the session of a log that is one file, by the reader of `agent`; `name` is the file's path.

    Nothing is raised for bad content: `Session.health` says what could not be read.  OpenCode's logs are no single
    files; `readers.opencode` reads them.
    """
    return _READERS[agent](stream, name)
