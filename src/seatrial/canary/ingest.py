"""From logs to the history: what is new or changed is read, one log after the other, and nothing else is opened.

New logs are read in the order in which they begin, so that what a later log copied from an earlier one is the earlier
one's.  Where that order cannot be had (archives; a log that turns up later), a session that loses messages to an
earlier one is read again at the end.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from seatrial import paths
from seatrial.canary import archives, phrases, readers
from seatrial.canary.census import read_prompts, record_prompts
from seatrial.canary.discovery import Log, Skipped, Sources, as_text, gone, state_of
from seatrial.canary.events import AgentName, Health, Session
from seatrial.canary.history import History
from seatrial.canary.readers.files import FirstBytes, open_regular
from seatrial.canary.readers.opencode import Database, folder_state, read_folder
from seatrial.canary.recognition import HEAD, first_time, place_of, recognised
from seatrial.canary.recording import Reading, container_of, record

Report = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""
_FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What content that nobody thought of may raise; such a log is left out, said, and tried again the next time."""


@dataclass(slots=True)
class IngestReport:
    """What an ingest did; numbers of lines are of the logs that were read this time."""

    files_read: int = 0
    files_unchanged: int = 0
    files_gone: int = 0
    """Logs that were there before and are not any more; what is known of their sessions stays."""
    bytes_read: int = 0
    sessions_new: int = 0
    sessions_updated: int = 0
    lines: int = 0
    bad_lines: int = 0
    long_lines: int = 0
    wrong_fields: int = 0
    clock_jumps: int = 0
    unknown: dict[str, int] = field(default_factory=dict)
    """Types of lines that are not known, with their number."""
    unreadable: list[str] = field(default_factory=list)
    """Logs with too many bad lines to be judged."""
    duplicates: int = 0
    """Messages of the logs that were read which another log holds too; each counts once."""
    rewrites: int = 0
    kept: int = 0
    """Rewritten logs that show less of their session than was known."""
    read_again: int = 0
    """Logs that did not change and were read once more: messages became another's, or other wordings are counted."""
    skipped: list[Skipped] = field(default_factory=list)
    lost: dict[str, Any] = field(default_factory=dict)
    """See `History.lost`."""

    def add(self, health: Health, path: str) -> None:
        """Add what is wrong with a log."""
        self.bytes_read += health.bytes
        self.lines += health.lines
        self.bad_lines += health.bad_lines
        self.long_lines += health.long_lines
        self.wrong_fields += health.wrong_fields
        self.clock_jumps += health.clock_jumps
        for kind, number in health.unknown.items():
            self.unknown[kind] = self.unknown.get(kind, 0) + number
        if not health.is_good:
            self.unreadable.append(path)


def ingest(
    history: History,
    sources: Sources,
    report: Report | None = None,
    waiting: Callable[[], None] | None = None,
) -> IngestReport:
    """Take the logs that are new or changed into `history`.

    Only one ingest at a time works on a history: `waiting` is called before waiting for another to end.  It may be
    killed at any moment; the next one goes on.  Raises StoreError when the history is damaged or cannot be written.
    """
    with _alone(history, waiting):
        return _Ingest(history, sources, report).run()


@contextmanager
def _alone(history: History, waiting: Callable[[], None] | None) -> Iterator[None]:
    lock = history.path.with_suffix(".lock")
    with paths.tried_lock(lock) as is_free:
        if is_free:
            yield
            return
    if waiting is not None:
        waiting()
    with paths.locked(lock):
        yield


@dataclass(slots=True)
class _Known:
    size: int
    mtime_ns: int
    inode: int
    is_gone: bool
    container: str
    """The file on disk that it is in, or that it is."""


class _Ingest:
    def __init__(self, history: History, sources: Sources, report: Report | None) -> None:
        self.history = history
        self.sources = sources
        self.tell = report
        self.result = IngestReport(skipped=list(sources.skipped))
        self.known: dict[str, _Known] = {}
        for path, size, mtime_ns, inode, away, form, inside in history.rows(
            "SELECT path, size, mtime_ns, inode, gone, form, inside FROM files"
        ):
            self.known[path] = _Known(size, mtime_ns, inode, bool(away), container_of(form, path, inside))
        self.seen: set[str] = set()
        self.done = 0
        self.total = 0

    def run(self) -> IngestReport:
        changed = [log for log in map(self._with_state, self.sources.logs) if log and not self._is_unchanged(log)]
        self.total = sum(log.size for log in changed)
        for log in self._in_order(log for log in changed if log.form == "file"):
            self._read(log, self._file)
        for log in changed:
            if log.form == "folder":
                self._read(log, self._stored)
            elif log.form == "store":
                self._database(log)
            elif log.form == "archive":
                self._archive(log, None)
            elif log.form == "prompts":
                self._prompts(log)
        self._mark_gone()
        self._read_stale()
        self.result.lost = self.history.lost()
        return self.result

    def _with_state(self, log: Log) -> Log | None:
        """Return the log with the size, time and number of all its files."""
        try:
            if log.form == "folder":
                found = folder_state(Path(log.path))
                return replace(log, size=found.size, mtime_ns=found.newest, inode=found.messages)
            if log.form == "store" and (wal := Path(log.path + "-wal")).exists():
                beside = wal.stat()
                newest = max(log.mtime_ns, beside.st_mtime_ns)
                return replace(log, size=log.size + beside.st_size, mtime_ns=newest)
        except OSError as problem:
            self._skip(log.path, problem)
            return None
        return log

    def _is_unchanged(self, log: Log) -> bool:
        known = self.known.get(log.name)
        self.seen.add(log.name)
        if known is None or (known.size, known.mtime_ns, known.inode) != (log.size, log.mtime_ns, log.inode):
            return False
        if log.form in ("archive", "store"):
            inside = [path for path, one in self.known.items() if one.container == log.name and path != log.name]
            self.seen.update(inside)
            self.result.files_unchanged += len(inside)
        elif log.form != "prompts":
            self.result.files_unchanged += 1
        return True

    def _in_order(self, logs: Iterable[Log]) -> list[Log]:
        """Return logs in the order in which they begin, those of sub-agents first: theirs is what they share."""
        ranked = []
        for log in logs:
            try:
                with open_regular(log.path) as stream:
                    began = first_time(stream.read(min(HEAD, log.size)))
            except OSError as problem:
                self._skip(log.path, problem)
                continue
            is_main = "/subagents/" not in log.path
            ranked.append((is_main, began or log.mtime_ns / 1e9, log.mtime_ns, log.path, log))
        return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:-1])]

    def _read(self, log: Log, how: Callable[[Log], Reading], *, again: bool = False) -> None:
        try:
            self._take(how(log), again)
        except OSError as problem:
            self._skip(log.path, problem)
        except _FAULTS as problem:
            # A fault of this program, not of the log; what is known of the log stays as it is.
            self.result.skipped.append(Skipped(log.name, f"reading it failed ({type(problem).__name__})"))
        if log.form in ("file", "folder") and not again:
            self._progress(log.size)

    def _progress(self, size: int) -> None:
        self.done += size
        if self.tell is not None:
            self.tell(min(self.done, self.total), self.total)

    def _take(self, reading: Reading, again: bool) -> None:
        taken = record(self.history, reading, again=again)
        result = self.result
        if again:
            result.read_again += 1
            return
        if reading.reason:
            result.skipped.append(Skipped(reading.log.name, reading.reason))
        if reading.session is not None:
            result.add(reading.session.health, reading.log.name)
        result.files_read += 1
        result.sessions_new += taken.is_new
        result.sessions_updated += taken.is_updated
        result.duplicates += taken.duplicates
        result.rewrites += taken.is_rewritten
        result.kept += taken.is_less

    def _skip(self, path: str, problem: OSError) -> None:
        reason = "it is gone" if isinstance(problem, FileNotFoundError) else problem.strerror or str(problem)
        self.result.skipped.append(Skipped(as_text(path), reason[:1].lower() + reason[1:]))

    def _file(self, log: Log) -> Reading:
        with open_regular(log.path) as stream:
            # The state now, not that of the walk: what is added from here on is read the next time.
            size, mtime_ns, inode = state_of(os.fstat(stream.fileno()))
            log = replace(log, size=size, mtime_ns=mtime_ns, inode=inode)
            head = stream.read(min(HEAD, log.size))
            return self._reading(log, FirstBytes(stream, log.size, head), head)

    def _reading(self, log: Log, stream: FirstBytes, head: bytes) -> Reading:
        agent = recognised(head) or log.agent
        if not head.strip():
            return Reading(log, reason="it is empty", head=head)
        if agent is None or agent == "opencode":
            return Reading(log, reason="not a log of an agent that is known", head=head)
        name = log.inside if log.form == "member" else log.name
        session = readers.read(agent, stream, name)
        return Reading(log, self._place(agent, log), session, head=head)

    def _place(self, agent: AgentName, log: Log) -> str:
        return place_of(agent, log.inside)

    def _stored(self, log: Log) -> Reading:
        return Reading(log, self._place("opencode", log), read_folder(Path(log.path)))

    def _database(self, log: Log) -> None:
        try:
            with Database(Path(log.path)) as database:
                for session, state in sorted(database.sessions().items()):
                    one = replace(
                        log,
                        path=f"{log.path}#{session}",
                        form="database",
                        size=0,
                        mtime_ns=state.newest,
                        inode=state.messages,
                    )
                    if not self._is_unchanged(one):
                        self._read(one, partial(self._row, database))
        except (sqlite3.Error, OSError) as problem:
            self.result.skipped.append(Skipped(log.name, f"not a database of OpenCode that can be read: {problem}"))
            return
        self._done(log, log.size)

    def _row(self, database: Database, log: Log) -> Reading:
        session: Session = database.read(log.path.rpartition("#")[2])
        return Reading(log, self._place("opencode", log), session)

    def _archive(self, log: Log, only: set[str] | None) -> None:
        """Read an archive's logs that are new or changed, or `only` some of them once more."""
        told = 0

        def progress(size: int) -> None:
            nonlocal told
            self._progress(size - told if only is None else 0)
            told = size

        try:
            for member, stream in archives.members(Path(log.path), progress):
                if only is None and self._is_unchanged(member):
                    continue
                if only is None or member.name in only:
                    self._read(member, partial(self._member, stream), again=only is not None)
        except archives.DAMAGE as problem:
            self.result.skipped.append(Skipped(log.name, f"the rest of it cannot be read: {problem}"))
            self.seen.update(path for path, one in self.known.items() if one.container == log.name)
            return
        if only is None:
            self._done(log, log.size - told)

    def _member(self, stream: IO[bytes], log: Log) -> Reading:
        if log.inside.endswith(".db") or PurePosixPath(log.inside).name.startswith("ses_"):
            return Reading(log, reason="a store of OpenCode in an archive; unpack the archive to have it read")
        head = stream.read(min(HEAD, log.size))
        return self._reading(log, FirstBytes(stream, log.size, head), head)

    def _prompts(self, log: Log) -> None:
        try:
            with open_regular(log.path) as stream:
                record_prompts(self.history, read_prompts(FirstBytes(stream, log.size)))
        except OSError as problem:
            self._skip(log.path, problem)
            return
        self._done(log, log.size)

    def _done(self, log: Log, size: int) -> None:
        """Remember the state of what is no log itself, so that it need not be opened the next time."""
        record(self.history, Reading(log))
        self._progress(size)

    def _read_stale(self) -> None:
        """Read the sessions again of which messages became another's, also those that an ingest was killed before.

        And those whose wordings were counted by other lists than there are now, so that all compare.
        """
        rows = self.history.rows(
            "SELECT files.* FROM sessions JOIN files ON files.id = sessions.file"
            " WHERE (stale = 1 OR wordings <> ?) AND files.gone = 0 ORDER BY files.path",
            phrases.version(),
        )
        of_archives: dict[str, set[str]] = {}
        of_databases: dict[str, list[Log]] = {}
        for row in rows:
            log = Log(row["path"], row["form"], row["agent"], row["inside"], row["size"], row["mtime_ns"], row["inode"])
            holder = container_of(log.form, log.path, log.inside)
            if log.form == "member":
                of_archives.setdefault(holder, set()).add(log.name)
            elif log.form == "database":
                of_databases.setdefault(holder, []).append(log)
            else:
                self._read(log, self._file if log.form == "file" else self._stored, again=True)
        for holder, some in of_archives.items():
            self._archive(Log(holder, "archive", None, "", 0, 0, 0), some)
        for holder, logs in of_databases.items():
            with Database(Path(holder)) as database:
                for log in logs:
                    self._read(log, partial(self._row, database), again=True)

    def _mark_gone(self) -> None:
        unseen = {path: one for path, one in self.known.items() if path not in self.seen and not one.is_gone}
        holders = {path: one.container for path, one in unseen.items()}
        lost = set(gone(sorted(set(holders.values()))))
        read_whole = {log.name for log in self.sources.logs if log.form in ("archive", "store")} & self.seen
        away = [path for path, holder in holders.items() if holder in lost or (holder != path and holder in read_whole)]
        back = [path for path in self.seen if path in self.known and self.known[path].is_gone]
        self.result.files_gone = len(away)
        if not away and not back:
            return
        with self.history.transaction() as connection:
            connection.executemany("UPDATE files SET gone = 1 WHERE path = ?", [(path,) for path in away])
            connection.executemany("UPDATE files SET gone = 0 WHERE path = ?", [(path,) for path in back])
            connection.execute(
                "UPDATE sessions SET gone = NOT EXISTS"
                " (SELECT 1 FROM files WHERE files.session = sessions.id AND files.gone = 0)"
            )
