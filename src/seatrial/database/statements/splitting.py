"""From a file of SQL to its statements, and from statements to transactions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seatrial.database.statements import kinds, lexer
from seatrial.errors import StatementError

MOST_BYTES = 16 * 1024 * 1024
"""The most bytes that a file, and so a statement, may have: a person must be able to review it."""
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class Statement:
    """One statement.

    `text` is what stands in the file between the separators, comments kept, space around it and the semicolon not;
    `line` is the line, from 1, where `text` begins; `kind` its leading keywords (`CREATE INDEX`); `transactional`
    whether the server takes it inside a transaction; `adds_enum_value` whether its value can be used only after that.
    """

    text: str
    line: int
    kind: str
    transactional: bool
    adds_enum_value: bool = False


@dataclass(frozen=True)
class Group:
    """Statements that are executed together: one transaction, or a single statement that must not be in one."""

    statements: tuple[Statement, ...]
    transactional: bool


def split(sql: str | bytes, name: str = "SQL") -> tuple[Statement, ...]:
    """Return the statements of a file in order; `name` is the file's, for messages.

    Raises StatementError with file, line and what to do for what is not text, never ends, is too large, holds no
    statement, or is a kind that the plan decides itself or that reaches beyond the database (`kinds.REFUSED`).

    This looks at the text of the statements only.  SQL that a `DO` block or a function puts together when it runs is
    not seen here; what a change does is measured on a branch and compared when it is applied.
    """
    text = _text(sql, name)
    found: list[Statement] = []
    line, counted = 1, 0
    for piece in lexer.cut(text, name):
        whole = text[piece.start : piece.end]
        kept = whole.strip(lexer.SPACE)
        begin = piece.start + len(whole) - len(whole.lstrip(lexer.SPACE))
        line, counted = line + text.count("\n", counted, begin), begin
        kind = kinds.kind_of(piece.head)
        refusal = kinds.refusal_of(piece.head, kept)
        if refusal:
            raise StatementError(
                f"{name}, line {line}: {kind} is refused because {refusal.reason}.", hint=refusal.hint, line=line
            )
        transactional = kinds.is_transactional(piece.head, piece.is_whole)
        found.append(Statement(kept, line, kind, transactional, kinds.adds_enum_value(piece.head)))
    if not found:
        raise StatementError(f"{name} holds no statement.", hint="Is it the right file?")
    return tuple(found)


def group(statements: Iterable[Statement]) -> tuple[Group, ...]:
    """Return the transactions that `statements` are executed in, in order.

    A statement that refuses a transaction stands alone.  After new values of an enumeration a new transaction begins,
    because they can be used only when they are committed.
    """
    groups: list[Group] = []
    together: list[Statement] = []

    def finish() -> None:
        if together:
            groups.append(Group(tuple(together), True))
            together.clear()

    for statement in statements:
        if not statement.transactional:
            finish()
            groups.append(Group((statement,), False))
            continue
        if together and together[-1].adds_enum_value and not statement.adds_enum_value:
            finish()
        together.append(statement)
    finish()
    return tuple(groups)


def _text(sql: str | bytes, name: str) -> str:
    # The number of characters is at most that of the bytes: a huge text is refused without encoding it.
    if len(sql) > MOST_BYTES or (isinstance(sql, str) and len(sql.encode(errors="replace")) > MOST_BYTES):
        megabytes = MOST_BYTES // 1024**2
        raise StatementError(
            f"{name} has more than {megabytes} MiB of SQL.", hint="Split it, or load data by other means than a change."
        )
    try:
        text = sql.encode().decode() if isinstance(sql, str) else sql.decode()
    except UnicodeDecodeError as problem:
        line = bytes(sql[: problem.start]).count(b"\n") + 1 if isinstance(sql, bytes) else 1
        raise StatementError(f"{name}, line {line}: this is not UTF-8.", hint="Save it as UTF-8.", line=line) from None
    except UnicodeEncodeError as problem:
        line = lexer.line_of(problem.object, problem.start)
        raise StatementError(f"{name}, line {line}: this is not UTF-8.", hint="Save it as UTF-8.", line=line) from None
    zero = text.find("\0")
    if zero >= 0:
        line = lexer.line_of(text, zero)
        raise StatementError(f"{name}, line {line}: there is a NUL byte.", hint="Is this a text file?", line=line)
    return text.removeprefix(_BYTE_ORDER_MARK)
