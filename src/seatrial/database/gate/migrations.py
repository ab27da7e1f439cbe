"""A folder of migrations: SQL files in the order of their numbers, each known by the hash of its bytes.

What is applied is what proposals that were applied say, so nobody can mark a file as done past the gate.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seatrial.database.gate.proposal import Proposal
from seatrial.database.gate.propose import Change
from seatrial.database.project import Project
from seatrial.database.statements import split
from seatrial.errors import StatementError

_NAME = re.compile(r"(\d+)_[a-z0-9_-]+\.sql")


@dataclass(frozen=True)
class Migration:
    """One file.  `state`: applied, pending, changed (after it was applied), missing (applied, and gone), late (below
    one that is applied)."""

    name: str
    number: int
    sha256: str
    state: str
    proposal: str = ""


def migrations(project: Project) -> list[Migration]:
    """Return the files of the project's folder and what became of each, in order.

    Raises StatementError for a name that says no order, or two files with the same number (0001 and 1 are the same).
    """
    folder = project.root / project.settings.migrations
    done = _applied(project)
    highest = max((_number(name) for name in done), default=-1)
    found: dict[str, Migration] = {}
    numbers: dict[int, str] = {}
    for file in sorted(folder.glob("*.sql") if folder.is_dir() else ()):
        number = _number(file.name)
        if number in numbers:
            raise StatementError(
                f"{folder}: {numbers[number]} and {file.name} have the same number.", hint="Give one another number."
            )
        numbers[number] = file.name
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        known = done.get(file.name)
        state = "late" if number < highest else "pending"
        if known:
            state = "applied" if known[0] == digest else "changed"
        found[file.name] = Migration(file.name, number, digest, state, known[1] if known else "")
    for name, (digest, proposal) in done.items():
        if name not in found:
            found[name] = Migration(name, _number(name), digest, "missing", proposal)
    return sorted(found.values(), key=lambda entry: (entry.number, entry.name))


def pending(project: Project, *, title: str = "") -> Change:
    """Return all pending files as one change.

    Raises StatementError when there is none, or when a file was changed, removed or put in after later ones were
    applied: production would not be what the folder says.
    """
    known = migrations(project)
    _check(known)
    files = [entry for entry in known if entry.state == "pending"]
    if not files:
        raise StatementError("No migration is pending.", hint=f"Put a file into {project.settings.migrations}/.")
    return change_of(project, [entry.name for entry in files], title=title)


def change_of(project: Project, names: Sequence[str], *, title: str = "") -> Change:
    """Return files of the folder as one change; StatementError when one cannot be read or taken."""
    texts, files = [], []
    for name in names:
        content = _read(project.root / project.settings.migrations / name)
        split(content, name)
        texts.append(content.removeprefix(b"\xef\xbb\xbf").decode().rstrip().rstrip(";"))
        files.append((name, hashlib.sha256(content).hexdigest()))
    return Change("\n;\n".join(texts), title or ", ".join(names), ", ".join(names), files=tuple(files))


def _applied(project: Project) -> dict[str, tuple[str, str]]:
    found = {}
    for proposal in project.records.all(Proposal, "applied"):
        for name, digest in proposal.opened().files:
            found[name] = (digest, proposal.id)
    return found


def _check(known: Sequence[Migration]) -> None:
    said = {
        "changed": "was changed after it was applied; write a new migration instead",
        "missing": "was applied and is gone; bring it back",
        "late": "comes before one that is applied; give it a higher number",
    }
    for entry in known:
        if entry.state in said:
            raise StatementError(f"The migration {entry.name} {said[entry.state]}.", hint="seatrial db migrations")


def _number(name: str) -> int:
    match = _NAME.fullmatch(name)
    if not match:
        raise StatementError(
            f"{name} says no order.", hint="Call migrations NUMBER_name.sql, with a-z, 0-9, _ and - in the name."
        )
    return int(match[1])


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise StatementError(f"{file} cannot be read: {problem.strerror}.") from problem
