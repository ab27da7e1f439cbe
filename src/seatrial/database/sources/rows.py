"""Rows: out of the source by COPY, masked in our memory, into the copy by COPY.

Nothing that is to be masked reaches a disk, a log or the copy's server.  Big tables are cut into ranges of pages; each
range is a job of its own, for whichever process is free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from seatrial.database.masking import coverage
from seatrial.database.masking.columns import Column, Table
from seatrial.database.masking.keyed import Keyed
from seatrial.database.masking.policy import Policy
from seatrial.database.postgres.connection import explain
from seatrial.errors import SourceError

_PAGE_BYTES = 8192
_JOB_PAGES = 4096
_BATCH_BYTES = 256 * 1024


@dataclass(frozen=True)
class Job:
    """Rows of one table: all, or those on pages from `first` to before `end` (0: to the last)."""

    table: str
    first: int = 0
    end: int = 0


def jobs(tables: Iterable[Table], policy: Policy | None) -> list[Job]:
    """Return what is to be copied, the biggest tables first."""
    found = []
    for table in sorted(tables, key=lambda table: -table.bytes):
        share = policy.tables[table.policy_name].share if policy else 1.0
        if table.partitioned or not share:
            continue
        pages = table.bytes // _PAGE_BYTES if share == 1.0 else 0
        starts = range(0, max(pages, 1), _JOB_PAGES)
        # The last range is open: the file may have grown since.
        found += [Job(table.identity, start, start + _JOB_PAGES if start != starts[-1] else 0) for start in starts]
    return found


class Copier:
    """Copies jobs from one connection to the other; `source` is within a transaction that sees the exported state."""

    def __init__(
        self,
        source: psycopg.Connection[Any],
        target: psycopg.Connection[Any],
        tables: Iterable[Table],
        policy: Policy | None,
        salt: str,
    ) -> None:
        self._source, self._target = source, target
        self._tables = {table.identity: table for table in tables}
        self._policy, self._keyed = policy, Keyed(salt.encode())

    def copy(self, job: Job) -> int:
        """Copy the rows of a job and return their number.

        Raises MaskingError for a value that cannot be masked, SourceError for a row that the copy refuses, naming the
        constraint; neither holds a value.
        """
        table = self._tables[job.table]
        columns = [column for column in table.columns if not column.generated]
        masks: Sequence[tuple[int, coverage.Masked]] = ()
        if self._policy:
            masks = coverage.fields(self._policy, table, columns, self._keyed)
        names = f" ({_list(columns)})" if columns else ""
        try:
            with (
                self._source.cursor() as reading,
                self._target.cursor() as writing,
                reading.copy(self._query(job, table, columns).encode()) as out,
                writing.copy(f"COPY {table.identity}{names} FROM STDIN".encode()) as into,
            ):
                for batch in _batches(out):
                    into.write(masked(batch, masks) if masks else batch)
                return max(reading.rowcount, 0)
        except psycopg.Error as problem:
            raise _explained(problem, job.table) from None

    def sample(self, table: Table, count: int) -> Iterator[tuple[list[Column], list[bytes]]]:
        """Yield (masked columns, their masked fields as COPY has them) of the first `count` rows."""
        columns = [column for column in table.columns if not column.generated]
        assert self._policy is not None
        masks = coverage.fields(self._policy, table, columns, self._keyed)
        shown = [columns[place] for place, _ in masks]
        query = f"COPY (SELECT {_list(columns)} FROM {table.identity} LIMIT {int(count)}) TO STDOUT"
        with self._source.cursor() as reading, reading.copy(query.encode()) as out:
            for batch in _batches(out):
                for line in batch.split(b"\n")[:-1]:
                    found = line.split(b"\t")
                    yield shown, [fields[found[place]] for place, fields in masks]

    def _query(self, job: Job, table: Table, columns: Sequence[Column]) -> str:
        names = _list(columns)
        share = self._policy.tables[table.policy_name].share if self._policy else 1.0
        if share < 1:
            sample = f"TABLESAMPLE BERNOULLI ({share * 100}) REPEATABLE (1)"
            return f"COPY (SELECT {names} FROM ONLY {table.identity} {sample}) TO STDOUT"
        if not job.first and not job.end:
            return f"COPY {table.identity}{f' ({names})' if names else ''} TO STDOUT"
        pages = f"ctid >= '({job.first},0)'" + (f" AND ctid < '({job.end},0)'" if job.end else "")
        return f"COPY (SELECT {names} FROM ONLY {table.identity} WHERE {pages}) TO STDOUT"


def _list(columns: Iterable[Column]) -> str:
    return ", ".join(column.identity for column in columns)


def masked(batch: bytes, masks: Sequence[tuple[int, coverage.Masked]]) -> bytes:
    """Return whole lines of COPY's text with some of their fields masked."""
    rows = [line.split(b"\t") for line in batch.split(b"\n")]
    rows.pop()
    for place, fields in masks:
        for row in rows:
            row[place] = fields[row[place]]
    lines = [b"\t".join(row) for row in rows]
    lines.append(b"")
    return b"\n".join(lines)


def _batches(out: psycopg.Copy) -> Iterator[bytes]:
    """Yield what COPY sends in pieces of whole lines."""
    waiting: list[bytes] = []
    size = 0
    while data := out.read():
        waiting.append(bytes(data))
        size += len(data)
        if size >= _BATCH_BYTES:
            whole, end, rest = b"".join(waiting).rpartition(b"\n")
            yield whole + end
            waiting, size = [rest], len(rest)
    if last := b"".join(waiting):
        yield last


def _explained(problem: psycopg.Error, table: str) -> SourceError:
    told = explain(problem, f"Rows of {table} cannot be copied")
    name = problem.diag.constraint_name
    hint = f"The constraint is {name}; masked values must satisfy it too." if name else told.hint
    return SourceError(told.message, hint=hint, sqlstate=problem.sqlstate or "")
