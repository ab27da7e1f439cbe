"""Checkpoints of the published sizes with random weights, for measuring speed and memory."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parents[1]
_SIGLIP_BASE = {"hidden_size": 768, "num_attention_heads": 12, "image_size": 512, "patch_size": 16}
_SO400M = {
    "hidden_size": 1152, "num_attention_heads": 16, "image_size": 384, "patch_size": 14,
    "intermediate_size": 4304, "num_hidden_layers": 27,
}  # fmt: skip

SIZES: dict[str, dict[str, Any]] = {
    "256M": {
        "vision": _SIGLIP_BASE, "scale": 4, "longest_edge": 2048,
        "text": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
                 "num_attention_heads": 9, "num_key_value_heads": 3, "rope_theta": 100000.0},
    },
    "500M": {
        "vision": _SIGLIP_BASE, "scale": 4, "longest_edge": 2048,
        "text": {"hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32,
                 "num_attention_heads": 15, "num_key_value_heads": 5, "rope_theta": 100000.0},
    },
    "2.2B": {
        "vision": _SO400M, "scale": 3, "longest_edge": 1536,
        "text": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24,
                 "num_attention_heads": 32, "num_key_value_heads": 32, "rope_theta": 130000.0},
    },
}  # fmt: skip


def make(size: str, folder: Path) -> Path:
    """Write the checkpoint called `size` (bfloat16) into `folder` unless it is there; returns the folder."""
    done = folder / "generation_config.json"
    if done.is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = json.loads((REPOSITORY / "tests" / "golden" / "tokenizer.json").read_text())
    # llama.cpp writes an empty line of a picture's prompt as this one token, which the published tokenizers have.
    tokenizer["model"]["vocab"]["ĊĊ"] = len(tokenizer["model"]["vocab"])
    tokenizer["model"]["merges"].append(["Ċ", "Ċ"])
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    shape = SIZES[size]
    vision = {"model_type": "smolvlm_vision", **shape["vision"]}
    text = {"model_type": "llama", "vocab_size": 49280, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
            **shape["text"]}  # fmt: skip
    tile = {"longest_edge": vision["image_size"]}
    files = {
        "tokenizer.json": tokenizer,
        "config.json": {"model_type": "smolvlm", "image_token_id": ids["<image>"], "scale_factor": shape["scale"],
                        "vision_config": vision, "text_config": text, "tie_word_embeddings": False},
        "preprocessor_config.json": {"max_image_size": tile, "size": {"longest_edge": shape["longest_edge"]}},
        "processor_config.json": {},
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    _write_weights(folder / "model.safetensors", _tensors(vision, text, shape["scale"]))
    done.write_text(json.dumps({"eos_token_id": ids["<end_of_utterance>"]}))
    return folder


def _tensors(vision: dict[str, Any], text: dict[str, Any], scale: int) -> dict[str, tuple[int, ...]]:
    c, inner, p = vision["hidden_size"], vision.get("intermediate_size", 3072), vision["patch_size"]
    h, wide, kv = text["hidden_size"], text["intermediate_size"], text["num_key_value_heads"] * 64
    root = "model.vision_model."
    shapes: dict[str, tuple[int, ...]] = {
        f"{root}embeddings.patch_embedding.weight": (c, 3, p, p),
        f"{root}embeddings.patch_embedding.bias": (c,),
        f"{root}embeddings.position_embedding.weight": ((vision["image_size"] // p) ** 2, c),
        f"{root}post_layernorm.weight": (c,),
        f"{root}post_layernorm.bias": (c,),
        "model.connector.modality_projection.proj.weight": (h, c * scale**2),
        "model.text_model.embed_tokens.weight": (text["vocab_size"], h),
        "model.text_model.norm.weight": (h,),
        "lm_head.weight": (text["vocab_size"], h),
    }
    for i in range(vision.get("num_hidden_layers", 12)):
        layer = f"{root}encoder.layers.{i}."
        linears = {f"self_attn.{part}_proj": (c, c) for part in ("q", "k", "v", "out")}
        for name, dims in {**linears, "mlp.fc1": (inner, c), "mlp.fc2": (c, inner)}.items():
            shapes[f"{layer}{name}.weight"], shapes[f"{layer}{name}.bias"] = dims, dims[:1]
        for norm in ("layer_norm1", "layer_norm2"):
            shapes[f"{layer}{norm}.weight"] = shapes[f"{layer}{norm}.bias"] = (c,)
    for i in range(text["num_hidden_layers"]):
        layer = f"model.text_model.layers.{i}."
        linears = {"self_attn.q_proj": (h, h), "self_attn.k_proj": (kv, h), "self_attn.v_proj": (kv, h),
                   "self_attn.o_proj": (h, h), "mlp.gate_proj": (wide, h), "mlp.up_proj": (wide, h),
                   "mlp.down_proj": (h, wide)}  # fmt: skip
        shapes.update({f"{layer}{name}.weight": dims for name, dims in linears.items()})
        shapes[f"{layer}input_layernorm.weight"] = shapes[f"{layer}post_attention_layernorm.weight"] = (h,)
    return shapes


def _write_weights(file: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    header, offset = {}, 0
    for name, dims in shapes.items():
        size = 2 * math.prod(dims)
        header[name] = {"dtype": "BF16", "shape": list(dims), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    random = np.random.default_rng(0)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name, dims in shapes.items():
            values = random.random(math.prod(dims), dtype=np.float32)
            values = values * 0.2 + 0.9 if "norm" in name and name.endswith("weight") else (values - 0.5) * 0.06
            stream.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())
