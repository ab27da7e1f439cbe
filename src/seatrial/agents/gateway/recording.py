"""Keeps every exchange: bodies by their sha256, one line of JSON per exchange.

    FOLDER/exchanges.jsonl          one entry per line, appended and synced
    FOLDER/blobs/ab/abcdef…         a body, as the agent sent or got it, keys removed

A body is in place before the line that names it.  A process that dies in the middle leaves at most a last line that
is torn (cut off when the recording is opened again) and blobs that no line names.  What this does not protect:
secrets of the agent's own making, such as passwords in its files, which are part of the conversation.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from seatrial import paths
from seatrial.agents.gateway.records import Usage
from seatrial.errors import RecordingError, StorageError

VERSION = 1
_IN_MEMORY = 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One exchange as it is recorded.  `request` and `response` are sha256 names of blobs."""

    id: str
    started: str
    finished: str
    provider: str
    dialect: str
    kind: str
    method: str
    target: str
    model: str
    streamed: bool
    exact: str
    stable: str
    position: str
    request: str
    status: int
    headers: tuple[tuple[str, str], ...]
    response: str
    complete: bool
    usage: Usage
    stop: str
    tools: tuple[str, ...]
    error: str

    def line(self) -> bytes:
        """Return the entry as a line of the recording."""
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Entry:
        """Return the entry in `line`.  Raises RecordingError when it is malformed or of another version."""
        try:
            fields: dict[str, Any] = json.loads(line)
            if fields.pop("version") != VERSION:
                raise RecordingError("The recording was written by another version of Seatrial.")
            fields["usage"] = Usage(**fields["usage"])
            fields["headers"] = tuple((str(key), str(value)) for key, value in fields["headers"])
            fields["tools"] = tuple(fields["tools"])
            return cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise RecordingError(f"A line of the recording is malformed: {problem!r}.") from problem


class Body:
    """A body that is being recorded: in memory while it is small, else in a temporary file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digest = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._length = 0
        self._file: IO[bytes] | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next piece.  Raises OSError when the disk is full."""
        self._digest.update(piece)
        self._pieces.append(piece)
        self._length += len(piece)
        if self._length > _IN_MEMORY:
            if self._file is None:
                self._file = tempfile.NamedTemporaryFile(dir=self._folder, prefix=".body.", delete=False)  # noqa: SIM115
            self._file.writelines(self._pieces)
            self._pieces, self._length = [], 0

    def keep(self) -> str:
        """Put the body in its place, durably; return its name.  Raises OSError."""
        name = self._digest.hexdigest()
        target = blob(self._folder.parent, name)
        if target.exists():
            self.drop()
            return name
        if not target.parent.exists():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(self._folder)
        if self._file is None:
            self._file = tempfile.NamedTemporaryFile(dir=self._folder, prefix=".body.", delete=False)  # noqa: SIM115
        try:
            with self._file as stream:
                stream.writelines(self._pieces)
                stream.flush()
                os.fsync(stream.fileno())
            Path(stream.name).replace(target)
            _sync_folder(target.parent)
        except BaseException:
            self.drop()
            raise
        return name

    def drop(self) -> None:
        """Forget the body."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
        self._pieces = []


class Recorder:
    """Writes a recording.  Raises RecordingError when `folder` cannot be written."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        try:
            paths.private_folder(self._blobs)
            self._lines = os.open(folder / "exchanges.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._cut_torn_line()
        except (OSError, StorageError) as problem:
            raise RecordingError(f"The recording {folder} cannot be written: {problem}.", path=folder) from problem
        for left in self._blobs.glob(".body.*"):
            left.unlink(missing_ok=True)

    def body(self) -> Body:
        """Return a body to feed."""
        return Body(self._blobs)

    def add(self, entry: Entry) -> str:
        """Append `entry`, durably; return its sha256 name.  Raises OSError."""
        line = entry.line()
        written = os.write(self._lines, line)
        if written != len(line):  # the disk is full: half a line must not run into the next one
            os.ftruncate(self._lines, os.fstat(self._lines).st_size - written)
            raise OSError(28, "No space left on device")
        os.fdatasync(self._lines)
        return hashlib.sha256(line).hexdigest()

    def close(self) -> None:
        """Close the file."""
        os.close(self._lines)

    def _cut_torn_line(self) -> None:
        end = size = os.fstat(self._lines).st_size
        while end > 0:
            start = max(0, end - 65536)
            newline = os.pread(self._lines, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            os.ftruncate(self._lines, end)
            os.fsync(self._lines)


def blob(folder: Path, name: str) -> Path:
    """Return where the body called `name` is kept in the recording `folder`."""
    return folder / "blobs" / name[:2] / name


def read_blob(folder: Path, name: str) -> bytes:
    """Return the body called `name`.  Raises RecordingError when it is missing or not what its name says."""
    if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise RecordingError(f"The recording {folder} names a body {name!r}.", path=folder)
    try:
        data = blob(folder, name).read_bytes()
    except OSError as problem:
        raise RecordingError(f"The recording {folder} lacks a body: {problem.strerror}.", path=folder) from problem
    if hashlib.sha256(data).hexdigest() != name:
        raise RecordingError(f"A body of the recording {folder} was changed.", path=folder, name=name)
    return data


def read_entries(folder: Path) -> Iterator[Entry]:
    """Yield the entries of a recording in order; a torn last line is left out.

    Raises RecordingError when there is no recording or a line other than the last is malformed.
    """
    try:
        lines = (folder / "exchanges.jsonl").read_bytes().split(b"\n")
    except OSError as problem:
        raise RecordingError(f"There is no recording in {folder}: {problem.strerror}.", path=folder) from problem
    for line in lines[:-1]:
        yield Entry.parse(line)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
