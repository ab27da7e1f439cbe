"""From files to a change, and from a report to a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from seatrial import paths
from seatrial.database.effect import EffectReport, Timeouts, read_queries, render_html
from seatrial.database.gate.proposal import Proposal
from seatrial.database.gate.propose import Change
from seatrial.database.project import Project
from seatrial.database.statements import split
from seatrial.errors import StatementError


def change_from_files(
    project: Project,
    files: Sequence[Path],
    *,
    title: str = "",
    lock_ms: int | None = None,
    statement_ms: int | None = None,
    queries: Path | None = None,
) -> Change:
    """Read files of SQL, in the order given (`-` is standard input), as one change.

    Raises StatementError for a file that cannot be read or taken; each is cut by itself, so that errors name it.
    """
    texts = []
    for file in files:
        content = _read(file)
        split(content, file.name)
        texts.append(content.removeprefix(b"\xef\xbb\xbf").decode().rstrip().rstrip(";"))
    timeouts = Timeouts(
        lock_ms or project.settings.lock_timeout_ms, statement_ms or project.settings.statement_timeout_ms
    )
    compared = read_queries(_read(queries).decode(errors="replace"), queries.name) if queries else ()
    name = ", ".join(file.name if str(file) != "-" else "standard input" for file in files)
    return Change(";\n".join(texts), title, name, timeouts, compared)


def write_page(report: EffectReport, file: Path, title: str, proposal: Proposal | None = None) -> None:
    """Write a report as a self-contained HTML page; StorageError when it cannot be written."""
    facts = {}
    if proposal:
        facts = {
            "Proposal": proposal.id,
            "Author": proposal.author,
            "State": proposal.state,
            "Proposed": proposal.created,
            "Plan hash": proposal.hash,
        }
    with paths.atomic_write(file.absolute()) as stream:
        stream.write(render_html(report, title=title, facts=facts).encode())


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as problem:
        raise StatementError(f"{file} cannot be read: {problem.strerror}.", hint="Name a file of SQL.") from problem
