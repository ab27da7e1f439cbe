"""Configuration: Hugging Face's JSON files from the metadata of a pair of GGUF files, and the metadata from them.

What llama.cpp has no key for (video sampling, the filter of the resize, …) is kept in strings of ours,
`seatrial.<file name>`, which other programs pass over; a file without them takes the published
checkpoints' values.  Where both speak, llama.cpp's keys decide.
Source of the keys: llama.cpp, `gguf-py/gguf/constants.py`, `conversion/{base,llama,smolvlm}.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from seatrial.errors import ModelError
from seatrial.vision.gguf.container import GgufFile

Json = dict[str, Any]

TEXT_FILES = ("config.json", "generation_config.json", "tokenizer_config.json")
VISION_FILES = ("preprocessor_config.json", "processor_config.json")
TEXT_ARCHITECTURE, VISION_ARCHITECTURE, PROJECTOR = "llama", "clip", "idefics3"
_TILES_OF_LONGEST_EDGE = 4  # the published checkpoints: 2048 of 512, 1536 of 384
SPECIAL_TOKENS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
_TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "clean_up_tokenization_spaces": False,
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "image_token": "<image>",
    "end_of_utterance_token": "<end_of_utterance>",
}


class _Keys:
    """Metadata of one file; a missing key ends in a sentence."""

    def __init__(self, file: GgufFile) -> None:
        self._file = file

    def __call__(self, key: str, default: Any = None) -> Any:
        value = self._file.metadata.get(key, default)
        if value is None:
            raise ModelError(f"{self._file.path}: the key {key} is missing.", path=self._file.path)
        if isinstance(value, int | float) and not value >= 0:
            raise ModelError(f"{self._file.path}: the key {key} is {value}.", path=self._file.path)
        return _short(value) if isinstance(value, float) else value


def _short(value: float) -> float:
    """Return the shortest decimal that is the same float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def json_files(text: GgufFile, vision: GgufFile) -> dict[str, Json]:
    """Return the JSON files of a pair by name, without `tokenizer.json`.

    Raises ModelError for a missing key, another architecture, and two files that do not belong together.
    """
    t, v = _Keys(text), _Keys(vision)
    _check(text, vision, t, v)
    kept = {name: _kept(text, name) for name in TEXT_FILES} | {name: _kept(vision, name) for name in VISION_FILES}
    try:
        tokens = t("tokenizer.ggml.tokens")
        derived: dict[str, Json] = {
            "config.json": {
                "vision_config": _vision_config(v),
                "text_config": _text_config(text, t, len(tokens)),
                "scale_factor": v("clip.vision.projector.scale_factor"),
                "image_token_id": tokens.index("<image>") if "<image>" in tokens else None,
                "tie_word_embeddings": "output.weight" not in text.tensors,
            },
            "preprocessor_config.json": _preprocessor(v),
            "processor_config.json": {"image_seq_len": _tokens_per_tile(v)},
            "generation_config.json": _generation(text.metadata, kept["generation_config.json"], len(tokens)),
            "tokenizer_config.json": _tokenizer_config(text.metadata, tokens),
        }
    except (TypeError, ValueError, ZeroDivisionError) as problem:
        raise ModelError(f"{text.path}: the metadata is malformed: {problem}.", path=text.path) from problem
    if derived["config.json"]["image_token_id"] is None:
        raise ModelError(f"{text.path}: the tokenizer has no token <image>.", path=text.path)
    return {name: _merged({**_defaults(name), **kept[name]}, content) for name, content in derived.items()}


def _check(text: GgufFile, vision: GgufFile, t: _Keys, v: _Keys) -> None:
    projector = v("clip.projector_type", vision.metadata.get("clip.vision.projector_type"))
    if projector != PROJECTOR:
        raise ModelError(
            f"{vision.path}: the projector {projector!r} is not supported.",
            hint=f"Supported: {PROJECTOR!r} (the SmolVLM, SmolVLM2 and Idefics3 families).",
            path=vision.path,
        )
    if v("clip.use_silu", False):
        raise ModelError(f"{vision.path}: a tower with SiLU is not supported (GELU is).", path=vision.path)
    if "rope_freqs.weight" in text.tensors or t("llama.rope.scaling.type", "none") != "none":
        raise ModelError(f"{text.path}: scaled rotation is not supported.", path=text.path)
    width, makes = t("llama.embedding_length"), v("clip.vision.projection_dim", t("llama.embedding_length"))
    if width != makes:
        raise ModelError(
            f"{text.path} takes picture tokens of width {width}, {vision.path} makes them of width {makes}.",
            hint="The two files do not belong together; name the right one with --mmproj.",
            path=vision.path,
        )


def _defaults(name: str) -> Json:
    """What the published checkpoints say and llama.cpp has no key for."""
    files: dict[str, Json] = {
        "config.json": {"model_type": "smolvlm", "architectures": ["SmolVLMForConditionalGeneration"]},
        "preprocessor_config.json": {
            "image_processor_type": "SmolVLMImageProcessor",
            "processor_class": "SmolVLMProcessor",
            "do_image_splitting": True,
            "resample": 1,
        },
        "processor_config.json": {"processor_class": "SmolVLMProcessor"},
        "tokenizer_config.json": _TOKENIZER,
    }
    return files.get(name, {})


def _kept(file: GgufFile, name: str) -> Json:
    try:
        content = json.loads(file.metadata.get(f"seatrial.{name}", "{}"))
    except (ValueError, TypeError, RecursionError) as problem:
        raise ModelError(f"{file.path}: seatrial.{name} is not JSON: {problem}.", path=file.path) from problem
    return content if isinstance(content, dict) else {}


def _merged(base: Json, decisive: Json) -> Json:
    """Return `base` with what `decisive` says, objects within objects joined the same way."""
    result = dict(base)
    for key, value in decisive.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = _merged(base[key], value) if both else value
    return result


def _vision_config(v: _Keys) -> Json:
    return {
        "model_type": "smolvlm_vision",
        "hidden_size": v("clip.vision.embedding_length"),
        "intermediate_size": v("clip.vision.feed_forward_length"),
        "num_hidden_layers": v("clip.vision.block_count"),
        "num_attention_heads": v("clip.vision.attention.head_count"),
        "image_size": v("clip.vision.image_size"),
        "patch_size": v("clip.vision.patch_size"),
        "layer_norm_eps": v("clip.vision.attention.layer_norm_epsilon"),
        "hidden_act": "gelu_pytorch_tanh",
    }


def _text_config(file: GgufFile, t: _Keys, vocab_size: int) -> Json:
    heads, hidden = t("llama.attention.head_count"), t("llama.embedding_length")
    head_dim = t("llama.attention.key_length", hidden // heads)
    if t("llama.rope.dimension_count", head_dim) != head_dim:
        raise ModelError(f"{file.path}: rotation of a part of each head is not supported.", path=file.path)
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": t("llama.feed_forward_length"),
        "num_hidden_layers": t("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": t("llama.attention.head_count_kv", heads),
        "head_dim": head_dim,
        "vocab_size": vocab_size,
        "max_position_embeddings": t("llama.context_length"),
        "rms_norm_eps": t("llama.attention.layer_norm_rms_epsilon"),
        "rope_parameters": {"rope_type": "default", "rope_theta": t("llama.rope.freq_base", 10000.0)},
        "hidden_act": "silu",
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in file.tensors,
    }


def _preprocessor(v: _Keys) -> Json:
    tile = v("clip.vision.image_size")
    # Files of before 2025-07 do not say how large the first resize is.
    longest = v("clip.vision.preproc_image_size", _TILES_OF_LONGEST_EDGE * tile)
    return {
        "size": {"longest_edge": longest},
        "max_image_size": {"longest_edge": tile},
        "image_mean": [_short(mean) for mean in v("clip.vision.image_mean")],
        "image_std": [_short(deviation) for deviation in v("clip.vision.image_std")],
    }


def _tokens_per_tile(v: _Keys) -> int:
    grid: int = v("clip.vision.image_size") // v("clip.vision.patch_size")
    return (grid // int(v("clip.vision.projector.scale_factor"))) ** 2


def _special_ids(metadata: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Special tokens among `count`; published files carry one beyond, a left-over of Idefics3."""
    ids = {short: metadata.get(f"tokenizer.ggml.{name}_token_id") for short, name in SPECIAL_TOKENS.items()}
    return {short: number for short, number in ids.items() if isinstance(number, int) and number < count}


def _generation(metadata: Mapping[str, Any], kept: Json, count: int) -> Json:
    ids = _special_ids(metadata, count)
    ids.pop("unk", None)
    several = kept.get("eos_token_id")  # llama.cpp keeps one
    if isinstance(several, list) and ids.get("eos") in several:
        ids["eos"] = several
    return {f"{short}_token_id": number for short, number in ids.items()}


def _tokenizer_config(metadata: Mapping[str, Any], tokens: list[str]) -> Json:
    return {f"{short}_token": tokens[number] for short, number in _special_ids(metadata, len(tokens)).items()}
