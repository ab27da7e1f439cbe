"""From files to a change, and from a report to a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from seatrial import paths
from seatrial.database.effect import EffectReport, Query, Timeouts, queries_of_statistics, read_queries, render_html
from seatrial.database.effect.phrases import visible
from seatrial.database.gate import target
from seatrial.database.gate.capture import capture, tool_of
from seatrial.database.gate.migrations import pending
from seatrial.database.gate.proposal import Proposal
from seatrial.database.gate.propose import Change
from seatrial.database.project import Project
from seatrial.database.statements import split
from seatrial.errors import StatementError

STATISTICS = "statistics"
"""Instead of a file of queries: those that took most time in production, from pg_stat_statements."""


def change_from(
    project: Project,
    files: Sequence[Path] = (),
    *,
    title: str = "",
    migrations: bool = False,
    command: str = "",
    tool: bool = False,
    lock_ms: int | None = None,
    statement_ms: int | None = None,
    queries: Path | None = None,
) -> Change:
    """Return a change from files of SQL (in the order given; `-` is standard input), from the pending migrations, from
    what a command does to a branch, or from what the project's migration tool does.

    `queries` is a file of queries whose plans are compared, or STATISTICS for those that took most time in production.

    Raises StatementError when not exactly one of these is asked for, or a file cannot be read or taken; SourceError
    when production keeps no statistics of queries.
    """
    if sum(map(bool, (files, migrations, command, tool))) != 1:
        raise StatementError("What is to be proposed?", hint="Name files, or one of --migrations, --run, --tool.")
    if migrations:
        change = pending(project, title=title)
    elif command or tool:
        change = capture(project, command or tool_of(project), title=title)
    else:
        change = _of_files(files, title)
    timeouts = Timeouts(
        lock_ms or project.settings.lock_timeout_ms, statement_ms or project.settings.statement_timeout_ms
    )
    return replace(change, timeouts=timeouts, queries=_queries(project, queries) if queries else ())


def _queries(project: Project, given: Path) -> tuple[Query, ...]:
    if str(given) == STATISTICS:
        with target.look(project) as connection:
            return queries_of_statistics(connection)
    return read_queries(_read(given).decode(errors="replace"), given.name)


def _of_files(files: Sequence[Path], title: str) -> Change:
    texts = []
    for file in files:
        content = _read(file)
        split(content, file.name)
        texts.append(content.removeprefix(b"\xef\xbb\xbf").decode().rstrip().rstrip(";"))
    name = ", ".join(file.name if str(file) != "-" else "standard input" for file in files)
    return Change("\n;\n".join(texts), title, name)


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
        shown = visible(str(file)).replace("\n", "\\n")
        raise StatementError(f"{shown} cannot be read: {problem.strerror}.", hint="Name a file of SQL.") from problem
