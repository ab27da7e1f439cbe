"""Names of tensors: Hugging Face's to llama.cpp's and back.

Source: llama.cpp, `gguf-py/gguf/tensor_mapping.py`, `tools/mtmd/clip-impl.h`.
"""

from __future__ import annotations

_WHOLE = {
    "token_embd": "model.text_model.embed_tokens",
    "output_norm": "model.text_model.norm",
    "output": "lm_head",
    "v.patch_embd": "model.vision_model.embeddings.patch_embedding",
    "v.position_embd": "model.vision_model.embeddings.position_embedding",
    "v.post_ln": "model.vision_model.post_layernorm",
    "mm.model.fc": "model.connector.modality_projection.proj",
}
_TEXT_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_VISION_LAYER = {
    "ln1": "layer_norm1",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_out": "self_attn.out_proj",
    "ln2": "layer_norm2",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}
_LAYERS = {
    "blk.": ("model.text_model.layers.", _TEXT_LAYER),
    "v.blk.": ("model.vision_model.encoder.layers.", _VISION_LAYER),
}


def to_hugging_face(name: str) -> str | None:
    """Return the name that Hugging Face checkpoints give the tensor `name` of a GGUF file; None if they have none."""
    part, _, kind = name.rpartition(".")
    if part in _WHOLE:
        return f"{_WHOLE[part]}.{kind}"
    for prefix, (root, parts) in _LAYERS.items():
        number, _, inner = part.removeprefix(prefix).partition(".")
        if part.startswith(prefix) and inner in parts:
            return f"{root}{number}.{parts[inner]}.{kind}"
    return None


def to_gguf(name: str) -> str | None:
    """Undo `to_hugging_face`."""
    part, _, kind = name.rpartition(".")
    for theirs, ours in _WHOLE.items():
        if part == ours:
            return f"{theirs}.{kind}"
    for prefix, (root, parts) in _LAYERS.items():
        number, _, inner = part.removeprefix(root).partition(".")
        for theirs, ours in parts.items():
            if part.startswith(root) and inner == ours:
                return f"{prefix}{number}.{theirs}.{kind}"
    return None


def is_vision(name: str) -> bool:
    """Say whether the tensor `name` (Hugging Face's) belongs in the mmproj file."""
    return name.startswith(("model.vision_model.", "model.connector."))


def rotated_heads(name: str, heads: int, kv_heads: int) -> int:
    """Return how many heads the rows of the tensor `name` (Hugging Face's) rotate in; 0 if they do not."""
    if not name.startswith("model.text_model.layers."):
        return 0
    return heads if ".q_proj." in name else kv_heads if ".k_proj." in name else 0
