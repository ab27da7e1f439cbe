"""Small checkpoints with the structure of the published ones, made from a seed, bit for bit the same anywhere."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOKENIZER = Path(__file__).with_name("tokenizer.json")
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """One checkpoint to make; `dtype` is how tensors are stored, `shards` into how many files."""

    name: str
    model_type: str
    vision: dict[str, Any]
    text: dict[str, Any]
    scale_factor: int
    longest_edge: int
    dtype: str = "F32"
    shards: int = 1
    template_in: str = "chat_template.json"
    plain_markers: bool = False
    seed: int = 1
    tied: bool = False
    embedding_gain: float = 1.0  # small where the head is tied, or every token would answer itself


_TEXT = {"model_type": "llama", "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, "pad_token_id": 0}

SHAPES = [
    # SigLIP base, patch 16, the class defaults for MLP width and layers left out as the published 256M does.
    Shape(
        "like-256m",
        "smolvlm",
        {"hidden_size": 64, "num_attention_heads": 1, "image_size": 128, "patch_size": 16, "intermediate_size": 192,
         "num_hidden_layers": 3, "model_type": "smolvlm_vision"},
        {**_TEXT, "hidden_size": 192, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 64,
         "intermediate_size": 256, "num_hidden_layers": 3, "rope_theta": 100000.0},
        scale_factor=4,
        longest_edge=512,
        dtype="BF16",
        shards=2,
    ),
    # SO400M: patch 14, 27 × 27 patches with a rim of 6 pixels, heads of 72, MLP width 269 (odd); full multi-head text.
    Shape(
        "like-2.2b",
        "smolvlm",
        {"hidden_size": 144, "num_attention_heads": 2, "image_size": 384, "patch_size": 14, "intermediate_size": 269,
         "num_hidden_layers": 2, "model_type": "smolvlm_vision"},
        {**_TEXT, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 160, "num_hidden_layers": 2,
         "rope_parameters": {"rope_type": "default", "rope_theta": 273768.0}},
        scale_factor=3,
        longest_edge=1536,
        template_in="processor_config.json",
        seed=2,
    ),
    # Version 1: Idefics3, row and column markers are plain text, tied head.
    Shape(
        "like-v1",
        "idefics3",
        {"hidden_size": 48, "num_attention_heads": 2, "image_size": 56, "patch_size": 14, "intermediate_size": 67,
         "num_hidden_layers": 2, "model_type": "idefics3_vision"},
        {**_TEXT, "hidden_size": 80, "num_attention_heads": 5, "num_key_value_heads": 1, "head_dim": 16,
         "intermediate_size": 97, "num_hidden_layers": 2, "rope_theta": 273768.0},
        scale_factor=2,
        longest_edge=224,
        dtype="F16",
        template_in="tokenizer_config.json",
        plain_markers=True,
        tied=True,
        embedding_gain=0.1,
        seed=3,
    ),
    # Odd in other ways: biases in the text tower, 13 × 13 patches, a scale factor of 13, a jinja file.
    Shape(
        "odd",
        "smolvlm",
        {"hidden_size": 40, "num_attention_heads": 5, "image_size": 91, "patch_size": 7, "intermediate_size": 33,
         "num_hidden_layers": 1, "model_type": "smolvlm_vision"},
        {**_TEXT, "hidden_size": 72, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 12,
         "intermediate_size": 31, "num_hidden_layers": 1, "rope_theta": 10000.0, "attention_bias": True,
         "mlp_bias": True},
        scale_factor=13,
        longest_edge=364,
        template_in="chat_template.jinja",
        seed=4,
    ),
]  # fmt: skip


def uniform(seed: int, count: int) -> NDArray[np.float64]:
    """Return `count` numbers in [-1, 1): splitmix64 of their index, the same on every machine and version."""
    with np.errstate(over="ignore"):
        z = (np.arange(count, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / 2**52 - 1


def tensor_shapes(shape: Shape, vocab: int) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of the checkpoint."""
    v, t = shape.vision, shape.text
    c, side, inner = v["hidden_size"], v["patch_size"], v["intermediate_size"]
    h, wide = t["hidden_size"], t["intermediate_size"]
    dim = t.get("head_dim", h // t["num_attention_heads"])
    q, kv = t["num_attention_heads"] * dim, t.get("num_key_value_heads", t["num_attention_heads"]) * dim
    shapes: dict[str, tuple[int, ...]] = {}
    root = "model.vision_model."
    shapes[f"{root}embeddings.patch_embedding.weight"] = (c, 3, side, side)
    shapes[f"{root}embeddings.patch_embedding.bias"] = (c,)
    shapes[f"{root}embeddings.position_embedding.weight"] = ((v["image_size"] // side) ** 2, c)
    for i in range(v["num_hidden_layers"]):
        layer = f"{root}encoder.layers.{i}."
        for norm in ("layer_norm1", "layer_norm2"):
            shapes[f"{layer}{norm}.weight"] = shapes[f"{layer}{norm}.bias"] = (c,)
        linears = {f"self_attn.{p}_proj": (c, c) for p in ("q", "k", "v", "out")}
        for name, dims in {**linears, "mlp.fc1": (inner, c), "mlp.fc2": (c, inner)}.items():
            shapes[f"{layer}{name}.weight"], shapes[f"{layer}{name}.bias"] = dims, dims[:1]
    shapes[f"{root}post_layernorm.weight"] = shapes[f"{root}post_layernorm.bias"] = (c,)
    shapes["model.connector.modality_projection.proj.weight"] = (h, c * shape.scale_factor**2)
    shapes["model.text_model.embed_tokens.weight"] = (vocab, h)
    for i in range(t["num_hidden_layers"]):
        layer = f"model.text_model.layers.{i}."
        shapes[f"{layer}input_layernorm.weight"] = shapes[f"{layer}post_attention_layernorm.weight"] = (h,)
        attention = {"q": (q, h), "k": (kv, h), "v": (kv, h), "o": (h, q)}
        for part, dims in attention.items():
            shapes[f"{layer}self_attn.{part}_proj.weight"] = dims
            if t.get("attention_bias"):
                shapes[f"{layer}self_attn.{part}_proj.bias"] = dims[:1]
        for part, dims in {"gate": (wide, h), "up": (wide, h), "down": (h, wide)}.items():
            shapes[f"{layer}mlp.{part}_proj.weight"] = dims
            if t.get("mlp_bias"):
                shapes[f"{layer}mlp.{part}_proj.bias"] = dims[:1]
    shapes["model.text_model.norm.weight"] = (h,)
    if not shape.tied:
        shapes["lm_head.weight"] = (vocab, h)
    return shapes


def values_of(name: str, dims: tuple[int, ...], seed: int, embedding_gain: float) -> NDArray[np.float32]:
    """Return the numbers of one tensor: norms around 1, matrices scaled so that activations keep their size."""
    drawn = uniform(seed + sum(name.encode()) * 7919, math.prod(dims)).reshape(dims)
    if "norm" in name:
        return (drawn * 0.2 + (1.0 if name.endswith("weight") else 0.0)).astype(np.float32)
    if name.endswith("bias"):
        return (drawn * 0.1).astype(np.float32)
    fan_in = math.prod(dims[1:])
    gain = {"position_embedding": 0.5, "embed_tokens": embedding_gain, "lm_head": 3.0}
    scale = next((g for part, g in gain.items() if part in name), 1.7)
    return (drawn * scale / (1 if "embed" in name and "patch" not in name else math.sqrt(fan_in))).astype(np.float32)


def write_tensors(file: Path, tensors: dict[str, NDArray[np.float32]], dtype: str) -> None:
    """Write a safetensors file with `tensors` stored as F32, F16 or BF16 (truncated)."""
    header: dict[str, Any] = {}
    blobs = []
    offset = 0
    for name, values in tensors.items():
        if dtype == "BF16":
            blob = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
        else:
            blob = values.astype("<f2" if dtype == "F16" else "<f4").tobytes()
        span = [offset, offset + len(blob)]
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": span}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def make_checkpoint(shape: Shape, folder: Path) -> Path:
    """Write the whole checkpoint into `folder` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    vocab = 1 + max([*tokenizer["model"]["vocab"].values(), *(t["id"] for t in tokenizer["added_tokens"])])
    if shape.plain_markers:
        tokenizer["added_tokens"] = [t for t in tokenizer["added_tokens"] if not _is_marker(t["content"])]
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    _write_json(folder / "tokenizer.json", tokenizer)
    _write_configs(shape, folder, ids, vocab)
    shapes = tensor_shapes(shape, vocab)
    tensors = {name: values_of(name, dims, shape.seed, shape.embedding_gain) for name, dims in shapes.items()}
    names = list(tensors)
    if shape.shards == 1:
        write_tensors(folder / "model.safetensors", tensors, shape.dtype)
        return folder
    weight_map = {}
    for shard in range(shape.shards):
        file = f"model-{shard + 1:05d}-of-{shape.shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard :: shape.shards]}
        write_tensors(folder / file, part, shape.dtype)
        weight_map.update(dict.fromkeys(part, file))
    _write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    return folder


def _is_marker(token: str) -> bool:
    return token.startswith("<row_") or token == "<global-img>"


def _write_configs(shape: Shape, folder: Path, ids: dict[str, int], vocab: int) -> None:
    end = ids["<end_of_utterance>"]
    config = {
        "model_type": shape.model_type,
        "scale_factor": shape.scale_factor,
        "image_token_id": ids["<image>"],
        "vision_config": shape.vision,
        "text_config": {**shape.text, "vocab_size": vocab, "eos_token_id": end, "bos_token_id": 1},
        "tie_word_embeddings": shape.tied,
        "pad_token_id": 128002,
    }
    grid = shape.vision["image_size"] // shape.vision["patch_size"]
    tile = {"longest_edge": shape.vision["image_size"]}
    preprocessor = {
        "do_image_splitting": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "max_image_size": tile,
        "size": {"longest_edge": shape.longest_edge},
        "resample": 1,
        "rescale_factor": 1 / 255,
        "video_sampling": {"fps": 1, "max_frames": 64, "video_size": tile},
    }
    files: dict[str, dict[str, Any]] = {
        "config.json": config,
        "preprocessor_config.json": preprocessor,
        "processor_config.json": {"image_seq_len": (grid // shape.scale_factor) ** 2},
        "generation_config.json": {"eos_token_id": end},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
    }
    if shape.template_in.endswith(".jinja"):
        (folder / shape.template_in).write_text(TEMPLATE, encoding="utf-8")
    else:
        files.setdefault(shape.template_in, {})["chat_template"] = TEMPLATE
    for name, content in files.items():
        _write_json(folder / name, content)


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
