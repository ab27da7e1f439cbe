"""Messages: stored first, delivered at least once, acknowledged; in order for each pair.

A sender is what the record says, never what a text says: agents send through their own control socket, whose other end
knows whose it is.  Delivery is the recipient's supervisor's work.  Does not protect an agent from believing a text.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from seatrial.agents.project import Project
from seatrial.agents.records import now
from seatrial.agents.terminal import plain
from seatrial.errors import MessageError

Kind = Literal["message", "interrupt", "asks", "done", "raw"]
USER, EVERYONE = "user", "all"
MOST_BYTES = 64 << 10
_COLUMNS = "id, sender, recipient, kind, text, created, delivered, acknowledged, attempts"


@dataclass(frozen=True)
class Message:
    """One message; times are ISO 8601 in UTC, None for what has not happened."""

    id: int
    sender: str
    recipient: str
    kind: str
    text: str
    created: str
    delivered: str | None
    acknowledged: str | None
    attempts: int

    def as_dict(self) -> dict[str, Any]:
        """Return the message ready for JSON."""
        return asdict(self)

    def shown(self) -> str:
        """Return the text that is put before an agent: who sent it, and each line of another agent's text marked.

        The marks keep a text from imitating the line that names the sender.
        """
        if self.sender == USER:
            return self.text
        body = "\n".join(f"> {line}" for line in self.text.splitlines() or [""])
        return f"[seatrial message {self.id} from agent {self.sender}]\n{body}"


def send(
    project: Project, sender: str, recipient: str, text: str, kind: Kind = "message", nonce: str | None = None
) -> list[Message]:
    """Store a message to an agent, to `user`, or to `all` other agents, and tell their supervisors.

    The same `nonce` again stores nothing and returns what was stored.  Raises MessageError for a text that is too long,
    an unknown kind; UnknownAgentError for a recipient that does not exist.
    """
    text = plain(text)
    if len(text.encode()) > MOST_BYTES:
        raise MessageError(f"The message is longer than {MOST_BYTES // 1024} KiB.", hint="Write it to a file instead.")
    if kind not in get_args(Kind):
        raise MessageError(f"There is no kind of message called {kind}.", hint=f"Known: {', '.join(get_args(Kind))}.")
    records = project.records
    if recipient == EVERYONE:
        to = [agent.name for agent in records.agents() if agent.name != sender and agent.phase != "deleting"]
    else:
        to = [recipient if recipient == USER else records.agent(recipient).name]
    stored = []
    with records.write() as db:
        for name in to:
            unique = f"{sender}/{nonce}/{name}" if nonce else None
            known = db.execute("SELECT id FROM messages WHERE nonce = ?", (unique,)).fetchone() if unique else None
            if known is None:
                values = (sender, name, kind, text, now(), unique)
                query = "INSERT INTO messages (sender, recipient, kind, text, created, nonce) VALUES (?, ?, ?, ?, ?, ?)"
                known = (db.execute(query, values).lastrowid,)
            stored.append(known[0])
    for name in to:
        if name != USER:
            poke(project, name)
    marks = ", ".join("?" * len(stored))
    return _select(project, f"WHERE id IN ({marks}) ORDER BY id", *stored)


def wait_delivered(project: Project, sent: list[Message], seconds: float = 600.0) -> list[Message]:
    """Wait until messages were put before their recipients; returns them as they then are, after `seconds` at most."""
    marks, end = ", ".join("?" * len(sent)), time.monotonic() + seconds
    while True:
        now_ = _select(project, f"WHERE id IN ({marks}) ORDER BY id", *(message.id for message in sent))
        if all(message.delivered for message in now_) or time.monotonic() > end:
            return now_
        time.sleep(0.005)


def waiting(project: Project, recipient: str) -> list[Message]:
    """Return what `recipient` has not acknowledged, in order."""
    return _select(project, "WHERE recipient = ? AND acknowledged IS NULL ORDER BY id", recipient)


def history(project: Project, name: str, limit: int = 50) -> list[Message]:
    """Return the last messages to and from `name`, in order."""
    found = _select(project, "WHERE recipient = ? OR sender = ? ORDER BY id DESC LIMIT ?", name, name, limit)
    return found[::-1]


def mark_delivered(project: Project, messages: list[Message]) -> None:
    """Write down that messages were put before their recipient."""
    with project.records.write() as db:
        db.executemany(
            "UPDATE messages SET delivered = COALESCE(delivered, ?), attempts = attempts + 1 WHERE id = ?",
            [(now(), message.id) for message in messages],
        )


def acknowledge(project: Project, recipient: str, upto: int | None = None) -> int:
    """Write down that `recipient` has taken what was delivered (up to a number); returns how many."""
    query = "UPDATE messages SET acknowledged = ?, delivered = COALESCE(delivered, ?) WHERE recipient = ?"
    rest = " AND acknowledged IS NULL AND " + ("delivered IS NOT NULL" if upto is None else "id <= ?")
    values = [now(), now(), recipient, *([] if upto is None else [upto])]
    with project.records.write() as db:
        return db.execute(query + rest, values).rowcount


def poke(project: Project, name: str, word: bytes = b"mail") -> None:
    """Tell a supervisor to look (`mail`, `budget`) or to `stop`.

    Nothing happens when it is not there: it looks when it starts.
    """
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(word, str(project.agent(name).socket("poke")))


def _select(project: Project, rest: str, *values: Any) -> list[Message]:
    return [Message(*row) for row in project.records.rows(f"SELECT {_COLUMNS} FROM messages {rest}", *values)]
