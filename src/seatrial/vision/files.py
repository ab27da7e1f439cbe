"""What a checkpoint says of itself, wherever it is stored: a Hugging Face folder or a pair of GGUF files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from seatrial.errors import ModelError
from seatrial.vision.gguf.pair import GgufPair, find_pair
from seatrial.vision.weights import Weights, load_weights


class ModelFiles(Protocol):
    """A checkpoint in Hugging Face terms: JSON files by name, texts by name, weights."""

    @property
    def path(self) -> Path:
        """The folder, or the file of the text tower."""

    def where(self, name: str) -> Path:
        """Return the file that what is called `name` comes from; for messages."""

    def json(self, name: str, *, required: bool = False) -> dict[str, Any]:
        """Return the object called `name`; {} when it is absent and not `required`.  ModelError if unreadable."""

    def text(self, name: str) -> str | None:
        """Return the text called `name`, or None."""

    def weights(self) -> Weights:
        """Map the tensors; WeightsError when they are damaged."""


class Folder:
    """A checkpoint folder in Hugging Face form."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def where(self, name: str) -> Path:
        """Return the path of the file called `name`."""
        return self.path / name

    def json(self, name: str, *, required: bool = False) -> dict[str, Any]:
        """Return the object in the file `name`; {} when it is absent and not `required`.  ModelError if unreadable."""
        file = self.path / name
        if not file.is_file():
            if required:
                raise ModelError(f"{file} is missing.", hint="A model is a folder with config.json in it.", path=file)
            return {}
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError) as problem:
            raise ModelError(f"{file} cannot be read: {problem}.", path=file) from problem
        if not isinstance(content, dict):
            raise ModelError(f"{file} must hold a JSON object.", path=file)
        return content

    def text(self, name: str) -> str | None:
        """Return what the file `name` holds, or None when it is absent."""
        file = self.path / name
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def weights(self) -> Weights:
        """Map every safetensors file; WeightsError when they are damaged."""
        return load_weights(self.path)


def open_files(source: Path | ModelFiles, mmproj: Path | None = None) -> ModelFiles:
    """Open a checkpoint: a Hugging Face folder, a folder with a pair of GGUF files, or the text one of a pair.

    `mmproj` names the other one; without it, it is looked for beside the text file.  What is open already is
    returned.  Raises ModelError when the pair is incomplete or ambiguous, or a file is damaged.
    """
    if not isinstance(source, Path):
        return source
    is_folder = source.is_dir()
    if is_folder and (any(source.glob("*.safetensors")) or not any(source.glob("*.gguf"))):
        if mmproj is not None:
            raise ModelError(
                f"{source} is not a GGUF model, so {mmproj} has no place in it.", hint="Leave the mmproj file out."
            )
        return Folder(source)
    return GgufPair(*find_pair(source, mmproj))
