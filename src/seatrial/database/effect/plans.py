"""Plans of the queries that matter, before and after the change.

Each query runs in a read-only transaction that is rolled back.  One with parameters, as statistics have them, is
planned for any values and not executed; so is one that would write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import DiagnosticField, ExecStatus

from seatrial.database.effect.report import PlanChange, PlanSummary, Query
from seatrial.database.statements import split
from seatrial.errors import SourceError

_MOST_MILLISECONDS = "10000"
_DEARER = 1.5
"""A plan whose cost grows by less than this factor is not worth a word."""
_NAME = "seatrial_query"

_STATISTICS_SCHEMA = """
SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
 WHERE e.extname = 'pg_stat_statements'::pg_catalog.name
"""
_STATISTICS = r"""
SELECT s.queryid, pg_catalog.sum(s.calls)::pg_catalog.int8, pg_catalog.min(s.query) FROM {} s
 WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
   AND s.queryid IS NOT NULL AND s.query ~* '^[\s(]*(select|with|insert|update|delete|merge)\M'::pg_catalog.text
 GROUP BY s.queryid ORDER BY pg_catalog.sum(s.total_exec_time) DESC LIMIT %s
"""


class _RefusedError(Exception):
    """What the server says, and its SQLSTATE."""

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state


def read_queries(text: str, name: str) -> tuple[Query, ...]:
    """Return the queries of a file of SQL, named by file and line; StatementError as `split`."""
    return tuple(Query(f"{name}:{statement.line}", statement.text) for statement in split(text, name))


def queries_of_statistics(connection: psycopg.Connection[Any], most: int = 50) -> tuple[Query, ...]:
    """Return the queries of this database that took most time in all, from `pg_stat_statements`, with $1 for values.

    `connection` is to the server where they ran, usually production, as a role that may see others' queries.

    Raises SourceError when the extension is not there, or shows no query.
    """
    try:
        row = connection.execute(_STATISTICS_SCHEMA).fetchone()
        if row is None:
            raise SourceError(
                "The database has no extension pg_stat_statements, so nobody knows its queries.",
                hint="Install it, or give the queries as a file.",
            )
        rows = connection.execute(
            sql.SQL(_STATISTICS).format(sql.Identifier(row[0], "pg_stat_statements")), (most,)
        ).fetchall()
    except psycopg.Error as problem:
        raise SourceError(
            f"The statistics of queries cannot be read: {problem.diag.message_primary or problem}.",
            hint="Give the queries as a file.",
        ) from problem
    if not rows:
        raise SourceError(
            "pg_stat_statements shows this role no query.", hint="Grant the role pg_read_all_stats, or give a file."
        )
    return tuple(Query(f"query {number}, {calls:,} calls", text) for number, calls, text in rows)


def explain(connection: psycopg.Connection[Any], queries: Sequence[Query]) -> dict[str, PlanSummary | str]:
    """Return each query's plan by the query's name, or why it has none."""
    return {query.name: _explain(connection, query.text) for query in queries}


def compare(
    queries: Sequence[Query], before: Mapping[str, PlanSummary | str], after: Mapping[str, PlanSummary | str]
) -> tuple[PlanChange, ...]:
    """Return every query with its two plans and what is worth saying about them."""
    changes = []
    for query in queries:
        old, new = before[query.name], after[query.name]
        if isinstance(old, str) or isinstance(new, str):
            breaks = not isinstance(old, str)
            findings = (f"It fails after the change: {new}.",) if breaks else ()
            problem = str(new if isinstance(new, str) else old)
            changes.append(
                PlanChange(
                    query.name,
                    query.text,
                    None if isinstance(old, str) else old,
                    None if isinstance(new, str) else new,
                    findings,
                    problem,
                    breaks,
                )
            )
        else:
            changes.append(PlanChange(query.name, query.text, old, new, tuple(_findings(old, new))))
    return tuple(changes)


def _findings(old: PlanSummary, new: PlanSummary) -> Iterator[str]:
    for table in sorted(set(new.scanned) - set(old.scanned)):
        yield f"It now reads {table} from beginning to end."
    for index in sorted(set(old.indexes) - set(new.indexes)):
        yield f"It no longer uses the index {index}."
    for index in sorted(set(new.indexes) - set(old.indexes)):
        yield f"It now uses the index {index}."
    if new.cost > old.cost * _DEARER:
        yield f"Its cost grows from {old.cost:,.0f} to {new.cost:,.0f}."
    if new.shape != old.shape and set(new.scanned) == set(old.scanned) and set(new.indexes) == set(old.indexes):
        yield "Its plan has another shape."


def _explain(connection: psycopg.Connection[Any], text: str) -> PlanSummary | str:
    try:
        return _planned(connection, f"EXPLAIN (FORMAT JSON, ANALYZE, BUFFERS, TIMING OFF) {text}")
    except _RefusedError as problem:
        if problem.state not in ("25006", "08P01", "42P02", "42P18", "57014"):
            return str(problem)
    try:
        return _planned(connection, text, is_parametrised=True)
    except _RefusedError as problem:
        return str(problem)


def _planned(connection: psycopg.Connection[Any], text: str, *, is_parametrised: bool = False) -> PlanSummary:
    """Return the plan that `text` (an EXPLAIN, or a query to be planned for any values) gives."""
    connection.execute("BEGIN READ ONLY")
    try:
        connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, true)", (_MOST_MILLISECONDS,))
        if is_parametrised:
            _send(connection, f"PREPARE {_NAME} AS {text}")
            connection.execute("SELECT pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true)")
            row = connection.execute(
                "SELECT pg_catalog.cardinality(parameter_types) FROM pg_catalog.pg_prepared_statements"
                f" WHERE name = '{_NAME}'::pg_catalog.text"
            ).fetchone()
            values = ", ".join(["NULL"] * (row[0] if row else 0))
            text = f"EXPLAIN (FORMAT JSON) EXECUTE {_NAME}" + (f"({values})" if values else "")
        return _summary(json.loads(_send(connection, text))[0])
    finally:
        connection.execute("ROLLBACK")
        if is_parametrised:
            connection.execute("DEALLOCATE ALL")


def _send(connection: psycopg.Connection[Any], text: str) -> str:
    # The extended protocol takes one statement only: a query text cannot bring another one along.
    result = connection.pgconn.exec_params(text.encode(), None)
    if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        message = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"the connection broke").decode()
        raise _RefusedError(message, (result.error_field(DiagnosticField.SQLSTATE) or b"").decode())
    return (result.get_value(0, 0) or b"").decode() if result.ntuples else ""


def _summary(explained: Mapping[str, Any]) -> PlanSummary:
    plan = explained["Plan"]
    shape: list[str] = []
    scanned: set[str] = set()
    indexes: set[str] = set()
    _walk(plan, 0, shape, scanned, indexes)
    was_executed = "Execution Time" in explained
    blocks = int(plan.get("Shared Hit Blocks", 0)) + int(plan.get("Shared Read Blocks", 0)) if was_executed else -1
    return PlanSummary(float(plan["Total Cost"]), blocks, tuple(shape), tuple(sorted(scanned)), tuple(sorted(indexes)))


def _walk(node: Mapping[str, Any], depth: int, shape: list[str], scanned: set[str], indexes: set[str]) -> None:
    words = [node["Node Type"]]
    if "Index Name" in node:
        words.append(f"using {node['Index Name']}")
        indexes.add(node["Index Name"])
    if "Relation Name" in node:
        words.append(f"on {node['Relation Name']}")
        if node["Node Type"] == "Seq Scan":
            scanned.add(node["Relation Name"])
    shape.append("  " * depth + " ".join(words))
    for child in node.get("Plans", ()):
        _walk(child, depth + 1, shape, scanned, indexes)
