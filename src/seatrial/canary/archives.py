"""Logs in an archive, one after the other as they lie in it; nothing is unpacked to disk or held whole."""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO

from seatrial.canary.discovery import INSIDE, Log, as_text, could_be_log
from seatrial.canary.readers.files import open_regular

_LARGEST = 2**62
_LATEST = 9e9
Member = tuple[Log, IO[bytes]]
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, NotImplementedError)
"""What reading a damaged archive raises."""


def members(archive: Path, progress: Callable[[int], None]) -> Iterator[Member]:
    """Yield what may be logs, each with its stream, which is good until the next is asked for.

    `progress` is called with how many bytes of the archive were read.  Raises one of `DAMAGE` where the archive cannot
    be read any further.
    """
    with open_regular(archive) as stream:
        for member in _zip(archive, stream) if archive.name.endswith(".zip") else _tar(archive, stream):
            progress(stream.tell())
            yield member


def _tar(archive: Path, stream: BinaryIO) -> Iterator[Member]:
    with tarfile.open(fileobj=stream, mode="r|*") as found:
        for member in found:
            # A tar that is read as a stream keeps what it saw; that would grow without end.
            found.members = []  # type: ignore[attr-defined]
            if not member.isreg() or not could_be_log(member.name):
                continue
            inner = found.extractfile(member)
            if inner is not None:
                yield _log(archive, member.name, member.size, float(member.mtime)), inner


def _zip(archive: Path, stream: BinaryIO) -> Iterator[Member]:
    with zipfile.ZipFile(stream) as found:
        for member in found.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir() or kind not in (0, stat.S_IFREG) or not could_be_log(member.filename):
                continue
            at = 0.0
            with suppress(ValueError, OverflowError):
                at = time.mktime((*member.date_time, 0, 0, -1))
            try:
                inner = found.open(member)
            except RuntimeError as problem:
                raise zipfile.BadZipFile("it is encrypted") from problem
            with inner:
                yield _log(archive, member.filename, member.file_size, at), inner


def _log(archive: Path, name: str, size: int, at: float) -> Log:
    inside = as_text(os.path.normpath(name.lstrip("/")))
    time_ns = int(at * 1e9) if abs(at) < _LATEST else 0
    return Log(f"{archive}{INSIDE}{inside}", "member", None, inside, min(size, _LARGEST), time_ns, 0)
