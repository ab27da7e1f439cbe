"""A checkpoint as a pair of GGUF files, as llama.cpp's own conversion would write it.

Which tensor gets which type follows `conversion/base.py` of llama.cpp: vectors and position tables stay
float32, and so does the patch matrix unless the file is F16.  Types of fewer than eight bits are for the
layers of the text tower only, as in our own int4; the rest of such a model is Q8_0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seatrial.errors import WeightsError
from seatrial.vision.config import ModelConfig
from seatrial.vision.files import ModelFiles
from seatrial.vision.gguf import names
from seatrial.vision.gguf.blocks import TYPES, BlockType, encode
from seatrial.vision.gguf.container import Planned, pairs_of_halves
from seatrial.vision.gguf.metadata import (
    PROJECTOR,
    SPECIAL_TOKENS,
    TEXT_ARCHITECTURE,
    TEXT_FILES,
    VISION_ARCHITECTURE,
    VISION_FILES,
)
from seatrial.vision.gguf.vocabulary import vocabulary_metadata
from seatrial.vision.weights import Weights

_QUANTISATION_VERSION = 2
_FOUR_AND_FIVE_BITS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1")


def text_metadata(files: ModelFiles, config: ModelConfig, kind: BlockType, name: str) -> dict[str, Any]:
    """Return the metadata of the text file; TokenizerError when its tokenizer has no form in GGUF."""
    text = config.text
    values: dict[str, Any] = {
        **_general(TEXT_ARCHITECTURE, "model", kind, name),
        "llama.vocab_size": text.vocab_size,
        "llama.context_length": text.max_positions,
        "llama.embedding_length": text.hidden_size,
        "llama.block_count": text.layers,
        "llama.feed_forward_length": text.intermediate_size,
        "llama.attention.head_count": text.heads,
        "llama.attention.head_count_kv": text.kv_heads,
        "llama.attention.key_length": text.head_dim,
        "llama.attention.value_length": text.head_dim,
        "llama.attention.layer_norm_rms_epsilon": text.rms_norm_eps,
        "llama.rope.dimension_count": text.head_dim,
        "llama.rope.freq_base": text.rope_theta,
    }
    tokenizer = files.json("tokenizer.json", required=True)
    values |= vocabulary_metadata(tokenizer, text.vocab_size, files.where("tokenizer.json"))
    values |= _special_tokens(files, config, values["tokenizer.ggml.tokens"])
    if config.chat_template:
        values["tokenizer.chat_template"] = config.chat_template
    return values | _kept(files, TEXT_FILES)


def vision_metadata(files: ModelFiles, config: ModelConfig, kind: BlockType, name: str) -> dict[str, Any]:
    """Return the metadata of the mmproj file."""
    vision, picture = config.vision, config.picture
    return {
        **_general(VISION_ARCHITECTURE, "mmproj", kind, name),
        "clip.has_vision_encoder": True,
        "clip.projector_type": PROJECTOR,
        "clip.use_gelu": True,
        "clip.vision.projection_dim": config.text.hidden_size,
        "clip.vision.image_size": vision.image_size,
        "clip.vision.patch_size": vision.patch_size,
        "clip.vision.embedding_length": vision.hidden_size,
        "clip.vision.feed_forward_length": vision.intermediate_size,
        "clip.vision.block_count": vision.layers,
        "clip.vision.attention.head_count": vision.heads,
        "clip.vision.attention.layer_norm_epsilon": vision.layer_norm_eps,
        "clip.vision.projector.scale_factor": config.scale_factor,
        "clip.vision.image_mean": list(picture.mean),
        "clip.vision.image_std": list(picture.std),
        "clip.vision.preproc_image_size": picture.longest_edge or picture.tile,
        **_kept(files, VISION_FILES),
    }


def _general(architecture: str, part: str, kind: BlockType, name: str) -> dict[str, Any]:
    return {
        "general.architecture": architecture,
        "general.type": part,
        "general.name": name,
        "general.file_type": kind.file_type,
        "general.quantization_version": _QUANTISATION_VERSION,
    }


def _special_tokens(files: ModelFiles, config: ModelConfig, tokens: list[str]) -> dict[str, Any]:
    stated = files.json("tokenizer_config.json")
    text = files.json("config.json").get("text_config") or {}
    values = {}
    for short, name in SPECIAL_TOKENS.items():
        token = stated.get(f"{short}_token")
        token = token.get("content") if isinstance(token, dict) else token
        number = tokens.index(token) if token in tokens else text.get(f"{short}_token_id")
        if short == "eos" and config.eos_token_ids:
            number = config.eos_token_ids[0]
        if isinstance(number, int) and 0 <= number < len(tokens):
            values[f"tokenizer.ggml.{name}_token_id"] = number
    return values


def _kept(files: ModelFiles, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Return whole JSON files as strings, for what llama.cpp has no key for."""
    contents = {name: dict(files.json(name)) for name in wanted}
    for content in contents.values():
        content.pop("quantization_config", None)  # says how the safetensors were kept
        content.pop("chat_template", None)
    return {
        f"seatrial.{name}": json.dumps(content, ensure_ascii=False) for name, content in contents.items() if content
    }


def planned(weights: Weights, config: ModelConfig, kind: BlockType, *, vision: bool) -> list[Planned]:
    """Return what the text file or the mmproj file holds; WeightsError for a tensor that has no place in either."""
    return list(_planned(weights, config, kind, vision))


def _planned(weights: Weights, config: ModelConfig, kind: BlockType, vision: bool) -> Iterator[Planned]:
    for name in weights.names():
        if name.endswith("_scale") or (config.tied and name == "lm_head.weight"):
            continue
        stored, dims = names.to_gguf(name), weights.stored(name).shape
        if stored is None:
            raise WeightsError(f"{weights.stored(name).file}: tensor {name} has no place in a GGUF model.")
        if names.is_vision(name) == vision:
            chosen = type_of(stored, dims, kind)
            heads = names.rotated_heads(name, config.text.heads, config.text.kv_heads)
            yield Planned(stored, dims, chosen, _Encoded(weights, name, dims, chosen, heads))


def type_of(name: str, dims: tuple[int, ...], kind: BlockType) -> BlockType:
    """Return the type that the tensor `name` (llama.cpp's) of shape `dims` gets in a file mostly of `kind`."""
    if len(dims) == 1 or name == "v.position_embd.weight":
        return TYPES["F32"]
    if name == "v.patch_embd.weight":
        return TYPES["F16" if kind.name == "F16" else "F32"]
    if kind.name in _FOUR_AND_FIVE_BITS and not name.startswith("blk."):
        kind = TYPES["Q8_0"]
    return kind if dims[-1] % kind.size == 0 else TYPES["F16"]


class _Encoded:
    """Makes the bytes of one tensor when they are due, so that only one is in memory."""

    def __init__(self, weights: Weights, name: str, dims: tuple[int, ...], kind: BlockType, heads: int) -> None:
        self._weights, self._name, self._dims, self._kind, self._heads = weights, name, dims, kind, heads

    def __call__(self) -> NDArray[Any]:
        x = self._weights.matrix(self._name, self._dims)
        if self._heads:
            x = pairs_of_halves(x, self._heads)
        encoded = encode(self._kind, x)
        if self._kind.name == "F16" and not np.isfinite(encoded).all():
            raise WeightsError(f"Tensor {self._name} has numbers that F16 cannot hold.", hint="Use --type bf16 or f32.")
        return encoded
