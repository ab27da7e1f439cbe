"""SQL that was handed in: cut into statements, refused where it could not be planned, grouped into transactions.

This looks at the text alone.  What `DO` blocks, functions and triggers do when they run is not seen here: the gate
measures effects on a branch and compares the result, and does not trust the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seatrial.database.statements import kinds, lexer
from seatrial.database.statements.suspicion import suspicious
from seatrial.errors import StatementError

__all__ = ["MOST_BYTES", "Group", "Statement", "group", "split", "suspicious"]

MOST_BYTES = 16 * 2**20
"""Most bytes of SQL in one change; rows by the million belong into a data change in batches."""


@dataclass(frozen=True)
class Statement:
    """One statement: `text` as it was written, without the semicolon; `line` is where it begins, from 1."""

    text: str
    line: int
    kind: str
    transactional: bool
    ends_transaction: bool = False
    """Whether what follows must be a new transaction, as after a new value of an enum."""


@dataclass(frozen=True)
class Group:
    """Statements of one transaction, or one alone that refuses any; `first` is its number in the whole, from 0."""

    statements: tuple[Statement, ...]
    transactional: bool
    first: int


def split(sql: str | bytes, name: str = "SQL") -> tuple[Statement, ...]:
    """Cut `sql` into its statements.

    Raises StatementError, with `name` and the line, for text that is not UTF-8, is too large, is empty, holds something
    unterminated or a command of psql, or a statement that the gate does not take (`kinds.REFUSED` says which and why).
    """
    text = _decoded(sql, name)
    statements: list[Statement] = []
    line, seen = 1, 0
    for piece in lexer.cut(text, name):
        line, seen = line + text.count("\n", seen, piece.first), piece.first
        whole = text[piece.start : piece.end].strip(lexer.SPACE)
        refusal = kinds.refusal_of(piece.head, text[piece.start : piece.end])
        if refusal:
            kind = kinds.kind_of(piece.head)
            raise StatementError(
                f"{name}, line {line}: {kind} is refused because {refusal.reason}.", hint=refusal.hint, line=line
            )
        statements.append(
            Statement(
                whole,
                line,
                kinds.kind_of(piece.head),
                kinds.is_transactional(piece.head, piece.is_whole),
                kinds.adds_enum_value(piece.head),
            )
        )
    if not statements:
        raise StatementError(f"{name} holds no statement.", hint="Write at least one SQL statement.")
    return tuple(statements)


def group(statements: Iterable[Statement]) -> tuple[Group, ...]:
    """Put neighbours that can share a transaction into one."""
    groups: list[Group] = []
    open_: list[Statement] = []
    count = 0

    def close() -> None:
        if open_:
            groups.append(Group(tuple(open_), True, count - len(open_)))
            open_.clear()

    for statement in statements:
        if statement.transactional:
            open_.append(statement)
            count += 1
            if statement.ends_transaction:
                close()
        else:
            close()
            groups.append(Group((statement,), False, count))
            count += 1
    close()
    return tuple(groups)


def _decoded(sql: str | bytes, name: str) -> str:
    size = len(sql)  # of characters at first, which are never more than the bytes: a huge text is not encoded
    if isinstance(sql, str) and size <= MOST_BYTES:
        # What is no text (half of a pair of surrogates) becomes bytes that are refused below.
        sql = sql.encode("utf-8", "surrogatepass")
        size = len(sql)
    if size > MOST_BYTES:
        raise StatementError(
            f"{name} has {size / 2**20:.0f} MiB; at most {MOST_BYTES // 2**20} MiB are taken.",
            hint="Load rows in bulk with COPY outside of a schema change, or change them in batches.",
        )
    assert isinstance(sql, bytes)
    try:
        text = sql.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as problem:
        line = sql.count(b"\n", 0, problem.start) + 1
        raise StatementError(
            f"{name}, line {line}: this is not UTF-8 (byte 0x{sql[problem.start]:02x}).",
            hint="Save the file as UTF-8.",
            line=line,
        ) from None
    at = text.find("\0")
    if at >= 0:
        line = lexer.line_of(text, at)
        raise StatementError(f"{name}, line {line}: a NUL byte.", hint="Save the file as plain text.", line=line)
    return text
