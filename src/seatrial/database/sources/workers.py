"""Processes that copy rows beside each other: each has connections of its own, and all see the same exported state.

A worker is told everything on its standard input, so that no password is on a command line; when that closes, because
whoever started it is gone, it ends at once.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO, Any

import psycopg

from seatrial.database.masking.columns import Table
from seatrial.database.masking.policy import Policy
from seatrial.database.postgres import connect
from seatrial.database.sources import address
from seatrial.database.sources.rows import Copier, Job
from seatrial.database.steps import step
from seatrial.errors import MaskingError, SourceError

_WORTH_BYTES = 16 * 2**20
"""From this size of all tables on, starting processes pays."""
_MOST_WORKERS = 4
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Ends:
    """Where rows come from and go to: two addresses, the exported state, the policy and the salt."""

    source: str
    snapshot: str
    target: str
    policy: Policy | None
    salt: str


def copy_all(ends: Ends, tables: Sequence[Table], jobs: Sequence[Job], progress: Progress | None = None) -> int:
    """Copy all jobs, in processes where it pays; return the number of rows.

    Raises MaskingError or SourceError for the first job that fails; the others are then given up.
    """
    count = min(os.cpu_count() or 1, _MOST_WORKERS, len(jobs))
    if sum(table.bytes for table in tables) < _WORTH_BYTES or count < 2:
        return _here(ends, tables, jobs, progress)
    workers = [_start(ends) for _ in range(count)]
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    done: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
    threads = [threading.Thread(target=_feed, args=(worker, waiting, done), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        total = 0
        for number in range(1, len(jobs) + 1):
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            total += result
            step("refresh.rows")
            if progress:
                progress(number, len(jobs))
        return total
    finally:
        _end(workers, threads)


def _end(workers: Sequence[subprocess.Popen[str]], threads: Sequence[threading.Thread]) -> None:
    for worker in workers:
        worker.kill()
        worker.wait()
    for thread in threads:
        thread.join()
    for worker in workers:
        for stream in (worker.stdin, worker.stdout):
            assert stream is not None
            with suppress(OSError):  # what was not read is gone with the process
                stream.close()


def _here(ends: Ends, tables: Sequence[Table], jobs: Sequence[Job], progress: Progress | None) -> int:
    total = 0
    with Opened(ends) as (source, target):
        copier = Copier(source, target, tables, ends.policy, ends.salt)
        for number, job in enumerate(jobs, 1):
            total += copier.copy(job)
            step("refresh.rows")
            if progress:
                progress(number, len(jobs))
    return total


class Opened:
    """Both connections; the source's is within a transaction that sees the exported state."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def __enter__(self) -> tuple[psycopg.Connection[Any], psycopg.Connection[Any]]:
        self.source = address.open_for_reading(self._ends.source)
        try:
            self.target = connect(self._ends.target)
            self.source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self.source.execute(f"SET TRANSACTION SNAPSHOT '{self._ends.snapshot}'".encode())
        except BaseException:
            self.source.close()
            raise
        return self.source, self.target

    def __exit__(self, *_: object) -> None:
        self.source.close()
        self.target.close()


def _start(ends: Ends) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "seatrial.database.sources.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    told = asdict(ends) | {"policy": [ends.policy.text, ends.policy.file] if ends.policy else None}
    tell(worker.stdin, told)
    return worker


def _feed(worker: subprocess.Popen[str], waiting: queue.SimpleQueue[Job], done: queue.SimpleQueue[Any]) -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    while True:
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            tell(worker.stdin, asdict(job))
            answer = json.loads(worker.stdout.readline() or "{}")
        except (OSError, ValueError):
            answer = {}
        if "rows" in answer:
            done.put(answer["rows"])
            continue
        kind = MaskingError if answer.get("code") == "masking_error" else SourceError
        message = answer.get("message", "A process that copies rows has ended before its time.")
        done.put(kind(message, hint=answer.get("hint")))
        return


def tell(stream: IO[str], what: dict[str, Any]) -> None:
    """Send one line of JSON."""
    stream.write(json.dumps(what) + "\n")
    stream.flush()
