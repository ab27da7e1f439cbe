"""Which sessions were prompted, from Claude Code's list of prompts, which outlives the logs; no prompt is kept."""

from __future__ import annotations

from dataclasses import dataclass

from seatrial.canary.events import Health
from seatrial.canary.history import History
from seatrial.canary.readers.lines import Lines, Stream
from seatrial.canary.readers.values import seconds


@dataclass(slots=True)
class Prompted:
    """When a session was prompted: first and last time in seconds since 1970, and how often."""

    first: float
    last: float
    prompts: int = 1


def read_prompts(stream: Stream) -> dict[str, Prompted]:
    """Return the sessions that a list of prompts names; lines without a session (versions before 2.0) are left out."""
    found: dict[str, Prompted] = {}
    lines = Lines(stream, Health())
    for line in lines:
        entry = lines.decode(line) or {}
        session, at = entry.get("sessionId"), seconds(entry.get("timestamp"))
        if not isinstance(session, str) or not session or not at:
            continue
        known = found.setdefault(session, Prompted(at, at, 0))
        known.first, known.last = min(known.first, at), max(known.last, at)
        known.prompts += 1
    return found


def record_prompts(history: History, found: dict[str, Prompted]) -> None:
    """Add to the sessions that are known to have been prompted; those that the list no longer names stay.

    Raises StoreError when the history is damaged or cannot be written.
    """
    with history.transaction() as connection:
        connection.executemany(
            "INSERT INTO prompted(session, first, last, prompts) VALUES (?, ?, ?, ?) ON CONFLICT(session) DO UPDATE SET"
            " first = MIN(first, excluded.first), last = MAX(last, excluded.last),"
            " prompts = MAX(prompts, excluded.prompts)",
            [(session, one.first, one.last, one.prompts) for session, one in found.items()],
        )
