"""Root file systems unpacked from images: once, by name, read-only from then on (`files.root` of a policy).

An archive is what `docker save`, `podman save` or `skopeo copy … oci-archive:` write.  `layers.py` unpacks it and says
what of an archive is not trusted.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from seatrial import paths
from seatrial.agents import layers
from seatrial.errors import SandboxError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MOST_JSON, _MOST_LAYERS, _MOST_DEPTH = 4 << 20, 256, 4
_PIECE = 1 << 20


def import_image(archive: Path, name: str, most_bytes: int = 32 << 30) -> Path:
    """Unpack an archive as image `name` and return its folder; `most_bytes` limits what it may grow to.

    The image appears when it is whole, or not at all.  Raises SandboxError when the name is taken or none, and when the
    archive is damaged, too large, for other machines only, or tries to write outside of its folder.
    """
    target = _folder(name)
    if target.exists():
        raise SandboxError(f"There is an image {name} already.", hint=f"seatrial agent image remove {name}")
    try:
        with archive.open("rb") as stream, layers.opened(stream) as outer, paths.atomic_folder(target) as folder:
            folder.chmod(0o755)
            budget = layers.Budget(most_bytes)
            for blob in _Archive(outer).layers():
                with tempfile.TemporaryFile(dir=target.parent) as copy:
                    blob(copy, most_bytes)
                    copy.seek(0)
                    layers.apply(copy, folder, budget)
    except (*layers.DAMAGED, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        message = f"{archive} cannot be read as an image: {problem}."
        raise SandboxError(message, hint="docker save -o FILE IMAGE") from problem
    return target


def images() -> list[str]:
    """Return the names of all images."""
    base = paths.home() / "images"
    return sorted(place.name for place in base.iterdir() if _NAME.fullmatch(place.name)) if base.is_dir() else []


def remove_image(name: str) -> None:
    """Remove an image; agents that are made of it cannot be started any more.  SandboxError when there is none."""
    if not is_image(name):
        raise SandboxError(f"There is no image {name}.", hint=f"Known: {', '.join(images()) or 'none'}.")
    doomed = _folder(name).with_name(f".{name}.removed")
    layers.remove(doomed)
    _folder(name).rename(doomed)
    layers.remove(doomed)


def is_image(name: str) -> bool:
    """Whether an image of this name has been unpacked."""
    return bool(_NAME.fullmatch(name)) and _folder(name).is_dir()


def root_of(name: str) -> Path:
    """Return the folder that `files.root` names, by path or as an image; SandboxError if it is not there."""
    if name.startswith("/") and Path(name).is_dir():
        return Path(name)
    if not is_image(name):
        raise SandboxError(f"There is no root file system {name}.", hint="seatrial agent image import ARCHIVE NAME")
    return _folder(name)


def _folder(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise SandboxError(f"{name!r} cannot be the name of an image.", hint="Use up to 64 of a-z, 0-9, '.', '_', '-'.")
    return paths.private_folder(paths.home() / "images") / name


class _Archive:
    """The two ways in which an image is written down: OCI's index.json, and Docker's manifest.json."""

    def __init__(self, outer: tarfile.TarFile) -> None:
        self._outer = outer

    def layers(self) -> Iterator[Callable[[IO[bytes], int], None]]:
        """Yield, lowest first, what copies a layer into a file."""
        names = self._outer.getnames()
        if "index.json" in names:
            found = [layer["digest"] for layer in self._manifest(self._json("index.json"), 0)["layers"]]
            places = [(_blob(digest), digest) for digest in found]
        elif "manifest.json" in names:
            images_ = self._json("manifest.json")
            if len(images_) != 1:
                raise SandboxError(f"The archive holds {len(images_)} images.", hint="Save one image only.")
            places = [(layer, "") for layer in images_[0]["Layers"]]
        else:
            raise SandboxError(
                "The archive holds neither index.json nor manifest.json.", hint="docker save -o FILE IMAGE"
            )
        if len(places) > _MOST_LAYERS:
            raise SandboxError(f"The image has {len(places)} layers; {_MOST_LAYERS} are the most.")
        for name, digest in places:
            yield lambda target, most, name=name, digest=digest: self._copy(name, digest, target, most)  # type: ignore[misc]

    def _manifest(self, index: Any, depth: int) -> Any:
        """Follow an index to the manifest for this machine."""
        if "layers" in index:
            return index
        if depth > _MOST_DEPTH:
            raise SandboxError("The archive's indexes name each other.")
        wanted = [entry for entry in index["manifests"] if layers.fits_here(entry.get("platform"))]
        if len(wanted) != 1:
            raise SandboxError(f"The archive holds {len(wanted)} images for this machine.", hint="Save one image only.")
        digest = wanted[0]["digest"]
        return self._manifest(self._json(_blob(digest), digest), depth + 1)

    def _json(self, name: str, digest: str = "") -> Any:
        with self._open(name) as stream:
            data = stream.read(_MOST_JSON)
        if digest and f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise SandboxError(f"The archive is damaged: {name} is not what its name says.")
        return json.loads(data)

    def _copy(self, name: str, digest: str, target: IO[bytes], most: int) -> None:
        seen, total = hashlib.sha256(), 0
        with self._open(name) as stream:
            while piece := stream.read(_PIECE):
                total += len(piece)
                if total > most:
                    raise SandboxError(f"The image's layer {name} has more than {most} bytes.")
                seen.update(piece)
                target.write(piece)
        if digest and f"sha256:{seen.hexdigest()}" != digest:
            raise SandboxError(f"The archive is damaged: {name} is not what its name says.")

    def _open(self, name: str) -> IO[bytes]:
        stream = self._outer.extractfile(name)
        if stream is None:
            raise SandboxError(f"{name} in the archive is not a file.")
        return stream


def _blob(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise SandboxError(f"The archive names a part by {digest!r}, which is not a SHA-256.")
    return f"blobs/sha256/{value}"
