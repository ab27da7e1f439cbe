"""The text tower (Llama): embeddings in, hidden states and logits out.

Rows of several sequences are laid one after another, so a batch needs no padding and no mask.  Axes:
R rows, C channels, S rows of one sequence, T its positions so far, H heads, G key/value heads, D
channels of a head.  Source: transformers 5.23, `modeling_llama.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seatrial.vision.config import ModelConfig, TextConfig
from seatrial.vision.kv import KvCache, PagePool, page_tables
from seatrial.vision.ops.bfloat16 import as_f32
from seatrial.vision.ops.protocol import Array, AttentionPrecision, Linear, Ops, PageTables
from seatrial.vision.packed import LinearSource
from seatrial.vision.precision import Recipe
from seatrial.vision.tower import Observe, stacked
from seatrial.vision.weights import Weights


@dataclass(frozen=True)
class DecoderLayer:
    """One block: x += o(attention(norm1(x))); x += down(silu(gate) · up of norm2(x))."""

    norm1: Array
    qkv: Linear
    o: Linear
    norm2: Array
    gate_up: Linear
    down: Linear


@dataclass(frozen=True)
class Decoder:
    """Packed weights of the text tower; `embedding` [vocabulary, C] stays as stored."""

    config: TextConfig
    attention: AttentionPrecision
    embedding: NDArray[Any]
    layers: tuple[DecoderLayer, ...]
    norm: Array
    lm_head: Linear
    inverse_frequencies: Array


def load_decoder(weights: Weights, model: ModelConfig, ops: Ops, recipe: Recipe, source: LinearSource) -> Decoder:
    """Get the text tower from `source`, which packs it by `recipe` or has it.

    WeightsError names a missing or misshapen tensor.
    """
    config = model.text
    c, inner = config.hidden_size, config.intermediate_size
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    root = "model.text_model"

    def linear(names: Sequence[str], outs: Sequence[int], ins: int, *, bias: bool) -> Linear:
        def pack() -> Linear:
            matrices = [weights.matrix(f"{name}.weight", (rows, ins)) for name, rows in zip(names, outs, strict=True)]
            biases = [weights.array(f"{name}.bias", (rows,)) for name, rows in zip(names, outs, strict=True) if bias]
            return ops.pack(stacked(matrices), np.concatenate(biases) if bias else None, recipe.text)

        return source.linear(names[0], pack)

    def layer(number: int) -> DecoderLayer:
        name = f"{root}.layers.{number}"
        attention = [f"{name}.self_attn.{part}_proj" for part in "qkv"]
        gate_up = [f"{name}.mlp.{part}_proj" for part in ("gate", "up")]
        return DecoderLayer(
            norm1=weights.array(f"{name}.input_layernorm.weight", (c,)),
            qkv=linear(attention, [q, kv, kv], c, bias=config.attention_bias),
            o=linear([f"{name}.self_attn.o_proj"], [c], q, bias=config.attention_bias),
            norm2=weights.array(f"{name}.post_attention_layernorm.weight", (c,)),
            gate_up=linear(gate_up, [inner, inner], c, bias=config.mlp_bias),
            down=linear([f"{name}.mlp.down_proj"], [c], inner, bias=config.mlp_bias),
        )

    embedding = weights.matrix(f"{root}.embed_tokens.weight", (config.vocab_size, c), checked=source.checked)

    def head() -> Linear:
        matrix = embedding if model.tied else weights.matrix("lm_head.weight", (config.vocab_size, c))
        return ops.pack(matrix, None, recipe.lm_head)

    return Decoder(
        config=config,
        attention=recipe.attention,
        embedding=embedding,
        layers=tuple(layer(number) for number in range(config.layers)),
        norm=weights.array(f"{root}.norm.weight", (c,)),
        lm_head=source.linear("lm_head", head),
        inverse_frequencies=_inverse_frequencies(config),
    )


def embed(decoder: Decoder, ids: Sequence[int]) -> Array:
    """Return the embeddings [S, C] of token `ids`."""
    return as_f32(decoder.embedding[np.asarray(ids, np.int64)])


def forward(
    decoder: Decoder,
    x_RC: Array,
    sequences: Sequence[tuple[KvCache, int]],
    ops: Ops,
    observe: Observe | None = None,
) -> Array:
    """Run rows through all layers, filling the caches; returns the final-normed hidden states [R, C].

    `sequences` gives, in row order, each sequence's cache and how many of the rows are its next positions; all
    caches are of one pool.  Raises CapacityError, with nothing filled, when the pool has no room.
    """
    eps = decoder.config.rms_norm_eps
    where = page_tables(sequences)
    pool = sequences[0][0].pool
    angles = np.concatenate([_angles(decoder, cache.length, count) for cache, count in sequences])
    turn = np.cos(angles), np.sin(angles)
    for number, layer in enumerate(decoder.layers):
        qkv = ops.normed_linear(x_RC, layer.norm1, eps, layer.qkv)
        x_RC = ops.linear(_attend(decoder, number, qkv, turn, pool, where, ops), layer.o, residual=x_RC)
        x_RC = ops.gated_mlp(x_RC, layer.norm2, eps, layer.gate_up, layer.down)
        if observe:
            observe(f"text.layers.{number}", x_RC)
    for cache, count in sequences:
        cache.advance(count)
    return ops.rms_norm(x_RC, decoder.norm, eps)


def logits(decoder: Decoder, hidden_RC: Array, ops: Ops) -> Array:
    """Return scores [R, vocabulary] of the next token after each hidden state."""
    return ops.linear(hidden_RC, decoder.lm_head)


def _attend(
    decoder: Decoder,
    number: int,
    qkv: Array,
    turn: tuple[Array, Array],
    pool: PagePool,
    where: PageTables,
    ops: Ops,
) -> Array:
    config = decoder.config
    heads = qkv.reshape(len(qkv), config.heads + 2 * config.kv_heads, config.head_dim)
    keys, values = config.heads, config.heads + config.kv_heads
    q_RHD, k_RGD, v_RGD = heads[:, :keys], heads[:, keys:values], heads[:, values:]
    attended = ops.paged_attention(q_RHD, k_RGD, v_RGD, *turn, pool.array, number, where, decoder.attention, pool.kv)
    flat: Array = attended.reshape(len(qkv), -1)
    return flat


def _inverse_frequencies(config: TextConfig) -> Array:
    exponents = np.arange(0, config.head_dim, 2).astype(np.float32) / np.float32(config.head_dim)
    frequencies: Array = np.float32(1.0) / np.power(np.float32(config.rope_theta), exponents)
    return frequencies


def _angles(decoder: Decoder, start: int, count: int) -> Array:
    """Return rotation angles [count, D/2] in radians for positions `start` and after, in float32 as the reference."""
    positions = np.arange(start, start + count, dtype=np.float32)
    angles: Array = positions[:, None] * decoder.inverse_frequencies
    return angles
