"""The picture tower (SigLIP) and the connector: tiles in, picture tokens out.

Axes: N tiles, P patches of a tile, C channels, H heads, D channels of a head.  Source: transformers
5.23, `modeling_smolvlm.py`.  Position ids are the identity for whole tiles, so row i of the position
table belongs to patch i.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seatrial.vision.config import ModelConfig, PictureConfig, VisionConfig
from seatrial.vision.ops.bfloat16 import as_f32
from seatrial.vision.ops.protocol import Array, AttentionPrecision, Linear, Ops
from seatrial.vision.packed import LinearSource
from seatrial.vision.pictures import normalise
from seatrial.vision.precision import Recipe
from seatrial.vision.weights import Weights

TENSORS = ("model.vision_model.", "model.connector.")
"""How the names of the tower's and connector's tensors begin."""

Observe = Callable[[str, Array], None]
"""Called with (name, value) at each seam; for comparison with the reference."""

Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""


@dataclass(frozen=True)
class Norm:
    """Scale and shift [C]."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class TowerLayer:
    """One block: x += out(attention(norm1(x))); x += fc2(gelu(fc1(norm2(x))))."""

    norm1: Norm
    qkv: Linear
    out: Linear
    norm2: Norm
    fc1: Linear
    fc2: Linear


@dataclass(frozen=True)
class Tower:
    """Packed weights of the tower and the connector."""

    config: VisionConfig
    picture: PictureConfig
    scale_factor: int
    attention: AttentionPrecision
    patch: Linear
    positions: Array
    layers: tuple[TowerLayer, ...]
    post_norm: Norm
    connector: Linear


def load_tower(weights: Weights, model: ModelConfig, ops: Ops, recipe: Recipe, source: LinearSource) -> Tower:
    """Get the tower and connector from `source`, which packs them by `recipe` or has them.

    WeightsError names a missing or misshapen tensor.
    """
    config = model.vision
    c, side = config.hidden_size, config.patch_size
    root = "model.vision_model"

    def norm(name: str) -> Norm:
        return Norm(weights.array(f"{name}.weight", (c,)), weights.array(f"{name}.bias", (c,)))

    def linear(name: str, outs: int, ins: int) -> Linear:
        return source.linear(
            name,
            lambda: ops.pack(
                weights.matrix(f"{name}.weight", (outs, ins)), weights.array(f"{name}.bias", (outs,)), recipe.tower
            ),
        )

    def layer(number: int) -> TowerLayer:
        name = f"{root}.encoder.layers.{number}"
        projections = [f"{name}.self_attn.{part}_proj" for part in "qkv"]
        return TowerLayer(
            norm1=norm(f"{name}.layer_norm1"),
            qkv=source.linear(
                f"{name}.self_attn.qkv",
                lambda: ops.pack(
                    stacked([weights.matrix(f"{p}.weight", (c, c)) for p in projections]),
                    np.concatenate([weights.array(f"{p}.bias", (c,)) for p in projections]),
                    recipe.tower,
                ),
            ),
            out=linear(f"{name}.self_attn.out_proj", c, c),
            norm2=norm(f"{name}.layer_norm2"),
            fc1=linear(f"{name}.mlp.fc1", config.intermediate_size, c),
            fc2=linear(f"{name}.mlp.fc2", c, config.intermediate_size),
        )

    def patch() -> Linear:
        name = f"{root}.embeddings.patch_embedding"
        matrix = weights.matrix(f"{name}.weight", (c, 3, side, side)).reshape(c, -1)
        return ops.pack(matrix, weights.array(f"{name}.bias", (c,)), recipe.patch)

    def connector() -> Linear:
        name = "model.connector.modality_projection.proj.weight"
        return ops.pack(weights.matrix(name, (model.text.hidden_size, shuffled)), None, recipe.connector)

    shuffled = c * model.scale_factor**2
    return Tower(
        config=config,
        picture=model.picture,
        scale_factor=model.scale_factor,
        attention=recipe.attention,
        patch=source.linear("patch", patch),
        positions=weights.array(f"{root}.embeddings.position_embedding.weight", (config.patches, c)),
        layers=tuple(layer(number) for number in range(config.layers)),
        post_norm=norm(f"{root}.post_layernorm"),
        connector=source.linear("connector", connector),
    )


def stacked(matrices: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Join matrices [out_i, in] by rows, keeping their stored type where they agree."""
    if len({matrix.dtype for matrix in matrices}) > 1:
        matrices = [as_f32(matrix) for matrix in matrices]
    return np.concatenate(matrices)


def encode_tiles(
    tower: Tower,
    tiles: NDArray[np.uint8],
    ops: Ops,
    observe: Observe | None = None,
    progress: Progress | None = None,
) -> Array:
    """Return picture tokens [N, T, hidden] for `tiles` [N, side, side, 3] uint8.

    Tiles are computed one after another: their activations stay in the processor's caches.
    """
    encoded = []
    for done, tile in enumerate(tiles, start=1):
        encoded.append(_encode_tile(tower, tile, ops, observe))
        if progress:
            progress(done, len(tiles))
    return np.stack(encoded)


def _encode_tile(tower: Tower, tile: NDArray[np.uint8], ops: Ops, observe: Observe | None) -> Array:
    see = observe or (lambda _name, _value: None)
    eps = tower.config.layer_norm_eps
    patches = patchify(normalise(tile[None], tower.picture)[0], tower.config)
    x_PC = ops.linear(patches, tower.patch, residual=tower.positions)
    see("vision.embeddings", x_PC)
    for number, layer in enumerate(tower.layers):
        x_PC = _block(x_PC, layer, tower, ops)
        see(f"vision.layers.{number}", x_PC)
    x_PC = ops.layer_norm(x_PC, tower.post_norm.weight, tower.post_norm.bias, eps)
    see("vision.post_layernorm", x_PC)
    x_TC = pixel_shuffle(x_PC, tower.config.grid, tower.scale_factor)
    return ops.linear(x_TC, tower.connector)


def _block(x_PC: Array, layer: TowerLayer, tower: Tower, ops: Ops) -> Array:
    config = tower.config
    eps = config.layer_norm_eps
    h_PC = ops.layer_norm(x_PC, layer.norm1.weight, layer.norm1.bias, eps)
    qkv_1P3HD = ops.linear(h_PC, layer.qkv).reshape(1, -1, 3, config.heads, config.head_dim)
    q, k, v = qkv_1P3HD[:, :, 0], qkv_1P3HD[:, :, 1], qkv_1P3HD[:, :, 2]
    attended = ops.attention(q, k, v, causal=False, precision=tower.attention)
    x_PC = ops.linear(attended.reshape(x_PC.shape), layer.out, residual=x_PC)
    h_PC = ops.layer_norm(x_PC, layer.norm2.weight, layer.norm2.bias, eps)
    return ops.linear(ops.linear(h_PC, layer.fc1, activation="gelu_tanh"), layer.fc2, residual=x_PC)


def patchify(pixels: Array, config: VisionConfig) -> Array:
    """Return patches [P, 3·side·side] of a normalised tile [3, h, w]; a rim narrower than a patch is left out."""
    grid, side = config.grid, config.patch_size
    whole = pixels[:, : grid * side, : grid * side].reshape(3, grid, side, grid, side)
    return np.ascontiguousarray(whole.transpose(1, 3, 0, 2, 4)).reshape(grid * grid, -1)


def pixel_shuffle(x_PC: Array, grid: int, scale: int) -> Array:
    """Join each `scale` × `scale` square of patches into one row [T, C·scale²], rows of the square outermost."""
    channels = x_PC.shape[-1]
    squares = x_PC.reshape(grid // scale, scale, grid // scale, scale, channels)
    return np.ascontiguousarray(squares.transpose(0, 2, 1, 3, 4)).reshape(-1, channels * scale**2)
