"""Sending one statement exactly as it stands, and hearing what the server says about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import DiagnosticField, ExecStatus

from seatrial.database.effect.report import Failure
from seatrial.database.statements import Statement
from seatrial.errors import PostgresError

_MOST_NOTICES = 20


def send(connection: psycopg.Connection[Any], statement: Statement, number: int) -> Failure | None:
    """Execute one statement through the extended protocol, which takes one only; return what the server objects to.

    Raises PostgresError when the connection breaks.
    """
    result = connection.pgconn.exec_params(statement.text.encode(), None)
    if connection.closed or connection.pgconn.status != 0:
        raise PostgresError(f"The connection broke at statement {number}.", hint="Look at the server's log; try again.")
    if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY):
        return None
    if result.status != ExecStatus.FATAL_ERROR:
        # COPY would wait for data that nobody sends; the splitter refuses it, this is for what it overlooks.
        connection.close()
        raise PostgresError(f"Statement {number} wants to exchange data with the client.", hint="Use INSERT.")

    def told(field: DiagnosticField) -> str:
        return (result.error_field(field) or b"").decode(errors="replace")

    position = int(told(DiagnosticField.STATEMENT_POSITION) or 0)
    return Failure(
        number,
        told(DiagnosticField.MESSAGE_PRIMARY) or "The server gave no reason.",
        told(DiagnosticField.SQLSTATE),
        told(DiagnosticField.MESSAGE_HINT),
        statement.line + statement.text.count("\n", 0, max(0, position - 1)),
    )


def said(problem: psycopg.Error, statement: Statement, number: int) -> Failure:
    """Return the failure for an error at the commit, where deferred checks run."""
    diagnosis = problem.diag
    return Failure(
        number,
        diagnosis.message_primary or str(problem),
        problem.sqlstate or "",
        diagnosis.message_hint or "",
        statement.line,
        at_commit=True,
    )


@contextmanager
def notices(connection: psycopg.Connection[Any]) -> Iterator[list[str]]:
    """Collect what the server remarks meanwhile, e.g. that something exists and was skipped; at most 20."""
    heard: list[str] = []

    def hear(diagnosis: psycopg.errors.Diagnostic) -> None:
        if len(heard) < _MOST_NOTICES:
            heard.append(f"{diagnosis.severity or 'NOTICE'}: {diagnosis.message_primary or ''}")

    connection.add_notice_handler(hear)
    try:
        yield heard
    finally:
        connection.remove_notice_handler(hear)
