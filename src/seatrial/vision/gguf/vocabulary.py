"""The tokenizer: `tokenizer.json` from a GGUF file's lists, and these lists from it.

llama.cpp keeps tokens in the order of their ids with a kind for each, merges as text, and names how text
is cut before merging (`tokenizer.ggml.pre`).  Its lists do not tell whether an added token strips the
space beside it; it is taken as one that does not, as in the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.errors import TokenizerError

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}
_CUTS: dict[str, list[dict[str, Any]]] = {"smollm": [_DIGITS, _BYTE_LEVEL], "gpt-2": [_BYTE_LEVEL]}
"""`tokenizer.ggml.pre` and the pre-tokenizers it stands for."""


def tokenizer_json(metadata: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Return what `tokenizer.json` would hold; TokenizerError names what is missing or of another kind."""
    kind, cut = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or cut not in _CUTS:
        raise TokenizerError(
            f"{file}: the tokenizer is {kind!r} with {cut!r}, which is not supported.",
            hint=f"Supported: 'gpt2' with {', '.join(map(repr, _CUTS))}.",
            path=file,
        )
    tokens = _list(metadata, "tokens", str, file)
    kinds = _list(metadata, "token_type", int, file)
    merges = _list(metadata, "merges", str, file)
    if len(tokens) != len(kinds):
        raise TokenizerError(f"{file}: {len(tokens)} tokens have {len(kinds)} kinds.", path=file)
    vocabulary = {token: i for i, token in enumerate(tokens) if kinds[i] != _UNUSED}
    if len(vocabulary) + kinds.count(_UNUSED) != len(tokens):
        raise TokenizerError(f"{file}: two tokens have the same text.", path=file)
    added = [_added(i, token, kinds[i]) for i, token in enumerate(tokens) if kinds[i] in (_CONTROL, _USER_DEFINED)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _CUTS[cut]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [merge.split(" ", 1) for merge in merges],
        },
    }


def _list(metadata: Mapping[str, Any], name: str, kind: type, file: Path) -> list[Any]:
    content = metadata.get(f"tokenizer.ggml.{name}")
    if not isinstance(content, list) or not all(isinstance(item, kind) for item in content):
        raise TokenizerError(f"{file}: tokenizer.ggml.{name} is missing or of another kind.", path=file)
    return content


def _added(number: int, token: str, kind: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, **flags, "special": kind == _CONTROL}


def vocabulary_metadata(description: Mapping[str, Any], size: int, file: Path) -> dict[str, Any]:
    """Return the lists for a `tokenizer.json`, filled up to `size` tokens.

    Raises TokenizerError when the tokenizer is of a kind that has no name there.
    """
    model = description.get("model") or {}
    cut = _cut_of(description.get("pre_tokenizer") or {})
    if model.get("type") != "BPE" or model.get("ignore_merges") or description.get("normalizer") or cut is None:
        raise TokenizerError(
            f"{file} is of a kind that cannot be written as GGUF.",
            hint="Supported: byte-level BPE as SmolLM and GPT-2 have it.",
            path=file,
        )
    texts = {number: (token, _NORMAL) for token, number in model["vocab"].items()}
    for token in description.get("added_tokens") or []:
        texts[token["id"]] = (token["content"], _CONTROL if token.get("special") else _USER_DEFINED)
    if max(texts, default=0) >= size:
        raise TokenizerError(f"{file} has the id {max(texts)}, the model {size} tokens.", path=file)
    listed = [texts.get(number, (f"[PAD{number}]", _UNUSED)) for number in range(size)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges") or []]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": cut,
        "tokenizer.ggml.tokens": [token for token, _ in listed],
        "tokenizer.ggml.token_type": [kind for _, kind in listed],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.add_bos_token": False,  # the chat template begins with it
    }


def _cut_of(pre_tokenizer: Mapping[str, Any]) -> str | None:
    """Return llama.cpp's name for how text is cut, or None."""
    steps = pre_tokenizer.get("pretokenizers") or [pre_tokenizer]
    kept = [{key: value for key, value in step.items() if key != "trim_offsets"} for step in steps]
    for name, cuts in _CUTS.items():
        if kept == [{key: value for key, value in step.items() if key != "trim_offsets"} for step in cuts]:
            return name
    return None
