"""Unpacking the layers of an image into a folder.

What is written is decided here, not by the archive: links are followed within the folder only, device nodes and pipes
are left out, set-user-id bits and owners are not taken over, sizes and counts are limited before anything is written.
Holds as long as nobody else writes into the folder meanwhile.  Does not protect against what the unpacked programs do.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import platform
import shutil
import stat
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from seatrial.errors import SandboxError

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_MOST_ENTRIES, _MOST_LINKS, _MOST_READ, _MOST_DEPTH = 2_000_000, 40, 16 << 20, 200
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_PIECE = 1 << 20
DAMAGED = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)


@dataclass
class Budget:
    """What is left of the bytes and entries that an image may have."""

    bytes: int
    entries: int = _MOST_ENTRIES

    def spend(self, size: int) -> None:
        """Take one entry of `size` bytes; SandboxError when it is too much."""
        self.bytes -= max(0, size)
        self.entries -= 1
        if self.bytes < 0 or self.entries < 0:
            raise SandboxError("The image grows larger than allowed.", hint="Use a smaller image.")


def fits_here(about: Any) -> bool:
    """Whether an image for the platform `about` (OCI's object; None: any) runs on this machine."""
    if not about:
        return True
    return bool(about.get("os") == "linux" and about.get("architecture") == _MACHINES.get(platform.machine()))


def opened(stream: IO[bytes]) -> tarfile.TarFile:
    """Open a tar archive, plain or compressed; one of `DAMAGED` is raised, now or later, when it is none."""
    return tarfile.open(fileobj=_Careful(_decompressed(stream)), mode="r:")  # type: ignore[call-overload, no-any-return]


def apply(layer: IO[bytes], folder: Path, budget: Budget) -> None:
    """Lay one layer (tar, plain or compressed) over what is in `folder`; SandboxError for what must not be unpacked."""
    fresh: set[Path] = set()
    try:
        _apply(layer, folder, budget, fresh)
    except DAMAGED as problem:
        raise SandboxError(f"The image is damaged: {problem}.", hint="Save it again.") from problem


def _apply(layer: IO[bytes], folder: Path, budget: Budget, fresh: set[Path]) -> None:
    with opened(layer) as archive:
        for member in archive:
            budget.spend(member.size if member.isreg() else 0)
            parts = [part for part in member.name.split("/") if part not in ("", ".")]
            if ".." in parts or "\0" in member.name:
                raise SandboxError(f"The image writes outside of its folder: {member.name!r}.")
            if len(parts) > _MOST_DEPTH:
                raise SandboxError("The image's folders are nested too deeply.")
            if parts:
                _take(archive, member, folder, parts, fresh)
        check_end(archive)


def check_end(archive: tarfile.TarFile) -> None:
    """Raise SandboxError when an archive breaks off: the standard library takes a damaged header for the end."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) not in (b"", bytes(tarfile.BLOCKSIZE)):
        raise SandboxError("The image is damaged: a layer breaks off.", hint="Save it again.")


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, parts: list[str], fresh: set[Path]) -> None:
    parent, name = _parent(folder, parts[:-1], fresh), parts[-1]
    if name == _OPAQUE:
        _clear(parent, fresh)
        return
    if name.startswith(_WHITEOUT):
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise SandboxError(f"The image writes outside of its folder: {member.name!r}.")
        if parent / hidden not in fresh:
            remove(parent / hidden)
        return
    target = parent / name
    if not (member.isdir() or member.isreg() or member.issym() or member.islnk()):
        return  # device nodes and pipes
    if not (member.isdir() and target.is_dir() and not target.is_symlink()):
        # The source of a link is found before what is in its place goes away: it may be the same.
        source = _source(folder, member, fresh) if member.islnk() else None
        if source == target:
            return
        remove(target)
        _make(archive, member, target, source)
    if member.isdir():
        target.chmod(member.mode & 0o1777 | 0o755)
    fresh.add(target)
    fresh.update(place for place in target.parents if place.is_relative_to(folder))


def _make(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, source: Path | None) -> None:
    if source is not None:
        os.link(source, target, follow_symlinks=False)
    elif member.isdir():
        target.mkdir()
    elif member.issym():
        target.symlink_to(member.linkname)
    else:
        content = archive.extractfile(member)
        assert content is not None
        with target.open("xb") as stream:
            shutil.copyfileobj(content, stream, _PIECE)
        # All may read: the agent has another user id than those that the image was made with.
        target.chmod(0o755 if member.mode & 0o111 else 0o644)


def _source(folder: Path, member: tarfile.TarInfo, fresh: set[Path]) -> Path:
    parts = [part for part in member.linkname.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise SandboxError(f"The image links outside of its folder: {member.linkname!r}.")
    source = _parent(folder, parts[:-1], fresh) / parts[-1]
    if not source.is_symlink() and not source.is_file():
        raise SandboxError(f"The image links to {member.linkname!r}, which is not a file in it.")
    return source


def _parent(folder: Path, parts: list[str], fresh: set[Path]) -> Path:
    """Return the folder at `parts`, made where it is not there; links are followed as if `folder` were the root."""
    place, left, links = folder, list(reversed(parts)), 0
    while left:
        part = left.pop()
        if part == "..":
            place = place.parent if place != folder else folder
            continue
        step = place / part
        if step.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                raise SandboxError("The image's links lead to each other.")
            target = str(step.readlink())
            place = folder if target.startswith("/") else place
            left.extend(reversed([p for p in target.split("/") if p not in ("", ".")]))
            continue
        if not step.is_dir():
            remove(step)
            step.mkdir()
            fresh.add(step)
        place = step
    return place


def _clear(folder: Path, fresh: set[Path]) -> None:
    """Remove what lower layers have put into a folder."""
    for child in list(folder.iterdir()):
        if child not in fresh:
            remove(child)
        elif child.is_dir() and not child.is_symlink():
            _clear(child, fresh)


def remove(place: Path) -> None:
    """Remove a file, link or whole folder; nothing when it is not there."""
    try:
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(place)
    else:
        place.unlink()


def _decompressed(layer: IO[bytes]) -> IO[bytes]:
    head = layer.read(6)
    layer.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(layer, "rb")  # type: ignore[return-value]
    if head.startswith(b"BZh"):
        return bz2.open(layer, "rb")
    if head == b"\xfd7zXZ\0":
        return lzma.open(layer, "rb")
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        raise SandboxError(
            "The image's layers are compressed by zstd.", hint="skopeo copy --dest-compress-format gzip …"
        )
    return layer


class _Careful:
    """A stream that does not read much at once: headers of tar may claim any size, and are read as a whole."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_READ:
            raise SandboxError("The image has a header that is too large.")
        return self._stream.read(size)
