"""A GGUF model: a file with the text tower and tokenizer, another ("mmproj") with the picture tower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from seatrial.errors import ModelError, WeightsError
from seatrial.vision.gguf import names
from seatrial.vision.gguf.container import GgufFile, read_gguf
from seatrial.vision.gguf.metadata import TEXT_ARCHITECTURE, VISION_ARCHITECTURE, json_files
from seatrial.vision.gguf.vocabulary import tokenizer_json
from seatrial.vision.weights import StoredTensor, Weights

_ARCHITECTURE = "general.architecture"


class GgufPair:
    """Both files, in Hugging Face terms (`files.ModelFiles`)."""

    def __init__(self, text: GgufFile, vision: GgufFile) -> None:
        """Take two files that `find_pair` gave; ModelError when they do not make a model."""
        self.path = text.path
        self._text = text
        self._vision = vision
        self._json: dict[str, dict[str, Any]] = {
            **json_files(text, vision),
            "tokenizer.json": tokenizer_json(text.metadata, text.path),
        }

    def where(self, name: str) -> Path:
        """Return the file that what Hugging Face keeps in the file `name` comes from."""
        return self._vision.path if "processor" in name else self._text.path

    def json(self, name: str, *, required: bool = False) -> dict[str, Any]:
        """Return the object that the file `name` would hold; {} for other names."""
        return self._json.get(name, {})

    def text(self, name: str) -> str | None:
        """Return the chat template under its file's name."""
        template = self._text.metadata.get("tokenizer.chat_template")
        return template if name == "chat_template.jinja" and isinstance(template, str) else None

    def weights(self) -> Weights:
        """Return the tensors of both under Hugging Face's names; WeightsError for one that has no place."""
        text = self._json["config.json"]["text_config"]
        heads, kv_heads = int(text["num_attention_heads"]), int(text["num_key_value_heads"])
        tensors: dict[str, StoredTensor] = {}
        for file, is_vision in ((self._text, False), (self._vision, True)):
            for stored, tensor in file.tensors.items():
                name = names.to_hugging_face(stored)
                if name is None or names.is_vision(name) != is_vision:
                    raise WeightsError(f"{file.path}: tensor {stored} has no place in this model.", path=file.path)
                rotated = names.rotated_heads(name, heads, kv_heads)
                if rotated and tensor.dims[0] % (2 * rotated):
                    raise WeightsError(
                        f"{file.path}: {tensor.dims[0]} rows of {stored} do not make {rotated} heads.", path=file.path
                    )
                tensors[name] = replace(tensor, heads=rotated)
        _unswap(tensors, self._json["config.json"]["vision_config"]["hidden_size"])
        return Weights(tensors, self.path)


def _unswap(tensors: dict[str, StoredTensor], width: int) -> None:
    """Put the two matrices of each block's MLP in order: files of before 2025-06 have their names exchanged.

    Seen by the shape, as llama.cpp does: the second matrix [width, inner] makes what the block takes.
    """
    for name in [name for name in tensors if name.endswith(".mlp.fc1.weight")]:
        first, second = name, name.replace("fc1", "fc2")
        if second in tensors and tensors[second].shape[-1] == width != tensors[first].shape[-1]:
            for kind in (".weight", ".bias"):
                one, other = (whole.removesuffix(".weight") + kind for whole in (first, second))
                if one in tensors and other in tensors:
                    tensors[one], tensors[other] = tensors[other], tensors[one]


def find_pair(source: Path, mmproj: Path | None) -> tuple[GgufFile, GgufFile]:
    """Read the two files of the model in a folder, or whose text file is `source`.

    Raises ModelError when one is missing or several would do, WeightsError when one is damaged.
    """
    chosen = None if source.is_dir() else read_gguf(source)
    if chosen and chosen.metadata.get(_ARCHITECTURE) == VISION_ARCHITECTURE:
        raise ModelError(f"{source} holds the picture tower alone.", hint="Name the text file; it may lie beside it.")
    folder = source if source.is_dir() else source.parent
    others = []
    if not (chosen and mmproj):
        others = [read_gguf(path) for path in sorted(folder.glob("*.gguf")) if not (chosen and path.samefile(source))]
    text = chosen or _only(folder, others, TEXT_ARCHITECTURE, "text tower", "Name the file of the text tower.")
    if text.metadata.get(_ARCHITECTURE) != TEXT_ARCHITECTURE:
        raise ModelError(
            f"{text.path} is a {text.metadata.get(_ARCHITECTURE)!r} model, which is not supported.",
            hint=f"Supported: {TEXT_ARCHITECTURE!r}, the text tower of the SmolVLM family.",
            path=text.path,
        )
    if text.metadata.get("split.count", 1) not in (0, 1):
        raise ModelError(f"{text.path} is one of several parts.", hint="Join them with llama-gguf-split --merge.")
    if mmproj is not None:
        vision = read_gguf(mmproj)
        if vision.metadata.get(_ARCHITECTURE) != VISION_ARCHITECTURE:
            raise ModelError(f"{mmproj} holds no picture tower.", hint="Its name usually begins with mmproj.")
        return text, vision
    beside = [file for file in others if file.path.name == f"mmproj-{text.path.name}"]
    return text, _only(folder, beside or others, VISION_ARCHITECTURE, "picture tower", "Name it with --mmproj FILE.")


def _only(folder: Path, files: list[GgufFile], architecture: str, what: str, hint: str) -> GgufFile:
    found = [file for file in files if file.metadata.get(_ARCHITECTURE) == architecture]
    if not found:
        raise ModelError(f"{folder} holds no GGUF file with a {what}.", hint=hint, path=folder)
    if len(found) > 1:
        raise ModelError(
            f"{folder} holds several GGUF files with a {what}: {', '.join(file.path.name for file in found)}.",
            hint=hint,
            path=folder,
        )
    return found[0]
