"""Trees of logs and what is known after they were taken in, for tests."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatrial.canary import discovery
from seatrial.canary.features import Features
from seatrial.canary.history import History
from seatrial.canary.ingest import IngestReport, ingest
from tests.unit.canary.claude_logs import lines, name, session_lines, turn, write


def take(history: History, root: Path, **more: Any) -> IngestReport:
    return ingest(history, discovery.under(root), **more)


def totals(history: History) -> dict[str, tuple[int, int, int, float]]:
    """Messages, prompts, calls and output tokens of each session."""
    return {found.session: counts(found) for found in history.sessions()}


def counts(found: Features) -> tuple[int, int, int, float]:
    return found.messages, found.prompts, found.calls, found.total("output_per_prompt")[0]


def summed(history: History) -> tuple[float, ...]:
    return tuple(map(sum, zip(*totals(history).values(), strict=True)))


def contents(history: History) -> list[tuple[Any, ...]]:
    """All that is kept, without the times at which it was seen."""
    sessions = history.rows("SELECT agent, session, features, events, output, stale FROM sessions ORDER BY 1, 2")
    files = history.rows("SELECT path, size, mtime_ns, reason, health FROM files ORDER BY path")
    keys = history.rows("SELECT key, nested, path FROM keys JOIN sessions ON id = keys.session ORDER BY key")
    return [tuple(row) for row in [*sessions, *files, *keys]]


def small_tree(root: Path) -> Path:
    for number in range(4):
        write(root / f"dev{number % 2}", name(number), session_lines(name(number), 2 + number))
    return root


FAMILY = {
    # A session, what resumed it with a copy of all it said, and what forked from that in the middle.
    name(1): [(name(1), 0), (name(1), 1), (name(1), 2)],
    name(2): [(name(1), 0), (name(1), 1), (name(1), 2), (name(2), 3)],
    name(3): [(name(1), 0), (name(1), 1), (name(3), 5), (name(3), 6)],
}


def family_member(session: str) -> bytes:
    return lines(*(turn(session, number, origin=origin) for origin, number in FAMILY[session]))


def write_family(root: Path, session: str) -> None:
    write(root, session, family_member(session), mtime=100 + int(session[-1]))


def pack_family(archive: Path, root: Path, order: Sequence[str]) -> Path:
    """Write the family's logs into an archive in some order."""
    for session in order:
        write_family(root, session)
    with tarfile.open(archive, "w") as made:
        for session in order:
            made.add(root / "-home-me-work" / f"{session}.jsonl", f"p/{session}.jsonl")
    return archive
