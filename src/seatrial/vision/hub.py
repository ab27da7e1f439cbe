"""Where models are: the bundled one, a folder, or a hub repository pulled earlier."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from seatrial import paths
from seatrial.errors import HubError, MissingExtraError, ModelError
from seatrial.vision.gguf.container import is_gguf

BUNDLED = "pico"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILES = ["*.json", "*.safetensors", "*.jinja", "README.md", "LICENSE*"]
_NETWORK_LIBRARIES = ("huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "hf_xet")
"""Their errors share no base class; the hub's client passes them through."""
_CHUNK_BYTES = 1 << 20


def find(name: str | Path) -> Path:
    """Return the folder or GGUF file of the model called `name`; ModelError says what to do when there is none."""
    if str(name) == BUNDLED:
        return _bundled()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        if is_gguf(folder):
            return folder
        raise ModelError(f"{folder} is a file; a model is a folder with config.json in it, or a GGUF file.")
    if _HUB_ID.fullmatch(str(name)):
        pulled = pulled_folder(str(name))
        if (pulled / "config.json").is_file() or any(pulled.glob("*.gguf")):
            return pulled
        raise ModelError(f"The model {name} has not been pulled.", hint=f"seatrial see pull {name}")
    raise ModelError(
        f"There is no model {name}.", hint=f"Give `{BUNDLED}`, a folder, a GGUF file, or a hub id (owner/name)."
    )


def pulled_folder(hub_id: str) -> Path:
    """Return where the hub repository `hub_id` is kept."""
    return paths.home() / "models" / hub_id.replace("/", "--")


def pull(
    hub_id: str,
    *,
    revision: str = "main",
    gguf: str | None = None,
    report: Callable[[str], None] = lambda _line: None,
    bars: bool = False,
) -> Path:
    """Fetch a model from the Hugging Face hub into Seatrial's home; returns its folder.

    `gguf` is a pattern such as "*Q8_0*": GGUF files of that name are fetched, and no others.
    `report` is told each step; `bars` draws progress bars on stderr.

    Interrupted downloads go on where they stopped; every large file is checked against the hub's
    SHA-256.  Raises HubError in one sentence when the hub cannot be reached, refuses, or a file is
    not what it should be.
    """
    if not _HUB_ID.fullmatch(hub_id):
        raise HubError(
            f"{hub_id!r} is not a hub id.",
            hint="Write owner/name, e.g. HuggingFaceTB/SmolVLM2-256M-Video-Instruct.",
        )
    try:
        import huggingface_hub as hf
        from huggingface_hub import errors
        from huggingface_hub.utils import disable_progress_bars, enable_progress_bars  # type: ignore[attr-defined]
    except ModuleNotFoundError as problem:
        raise MissingExtraError("huggingface_hub", "vision") from problem
    folder = pulled_folder(hub_id)
    paths.private_folder(folder)
    (enable_progress_bars if bars else disable_progress_bars)()
    try:
        info = hf.HfApi().model_info(hub_id, revision=revision, files_metadata=True)
        report(f"{hub_id} at {str(info.sha)[:12]}")
        wanted = _gguf_files(info, hub_id, gguf) if gguf else _FILES
        hf.snapshot_download(hub_id, revision=info.sha, local_dir=folder, allow_patterns=wanted)
    except errors.RepositoryNotFoundError as problem:
        raise HubError(f"The hub has no public model {hub_id}.", hint="For a private one: set HF_TOKEN.") from problem
    except errors.RevisionNotFoundError as problem:
        raise HubError(f"{hub_id} has no revision {revision}.") from problem
    except OSError as problem:
        if getattr(problem, "errno", None) == 28:
            raise HubError(
                f"The disk filled up while fetching {hub_id}.", hint="Free some space and pull again."
            ) from problem
        raise _unreachable(hub_id, problem) from problem
    except Exception as problem:
        if type(problem).__module__.partition(".")[0] not in _NETWORK_LIBRARIES:
            raise
        raise _unreachable(hub_id, problem) from problem
    for name, size, digest in _expected(info):
        report(f"checking {name}")
        _check(folder / name, size, digest)
    return folder


def _gguf_files(info: Any, hub_id: str, pattern: str) -> list[str]:
    """Return the names of the GGUF files that `pattern` means; HubError lists them when it means none."""
    held = [entry.rfilename for entry in info.siblings or [] if entry.rfilename.endswith(".gguf")]
    wanted = [name for name in held if fnmatch(name, pattern)]
    if not wanted:
        raise HubError(
            f"{hub_id} has no GGUF file that matches {pattern!r}.", hint=f"It has: {', '.join(held) or 'none at all'}."
        )
    return wanted


def _unreachable(hub_id: str, problem: Exception) -> HubError:
    return HubError(
        f"The hub cannot be reached, so {hub_id} was not fetched ({type(problem).__name__}).",
        hint="Check the network and pull again: finished parts are kept. Offline, pass --model FOLDER.",
    )


def _expected(info: Any) -> Iterator[tuple[str, int, str]]:
    """Yield (name, bytes, SHA-256) of every large file that may have been fetched."""
    for entry in info.siblings or []:
        digest = getattr(entry.lfs, "sha256", None) if entry.lfs else None
        if digest and entry.rfilename.endswith((".safetensors", ".gguf")):
            yield entry.rfilename, int(entry.size or 0), digest


def _check(file: Path, size: int, digest: str) -> None:
    actual = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                actual.update(chunk)
    except FileNotFoundError:
        return  # left out by the file patterns
    if actual.hexdigest() != digest:
        file.unlink()
        raise HubError(f"{file.name} arrived damaged ({size:,} bytes expected) and was removed.", hint="Pull again.")


def _bundled() -> Path:
    installed = Path(__file__).parents[1] / "models" / BUNDLED
    checkout = Path(__file__).parents[3] / "models" / BUNDLED
    for folder in (installed, checkout):
        if (folder / "config.json").is_file():
            return folder
    raise ModelError("The bundled model is not part of this installation.", hint="Reinstall seatrial, or pass --model.")
