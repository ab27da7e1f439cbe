"""The SmolVLM network in plain PyTorch, with the module names of the published checkpoints.

The state dict of :class:`Network` is the state dict of the exported model, name by name and shape by
shape, so nothing has to be translated on export.

Shapes use these letters: T tiles in the batch, P patches per tile, B sequences, S tokens per sequence,
D width, H heads, V vocabulary.
"""

# mypy: allow-subclassing-any, no-warn-return-any

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE_TOKEN = 5
HEAD = 64


@dataclass(frozen=True)
class Shape:
    """Sizes of one network. The defaults are those of the shipped checkpoint."""

    tile: int = 256
    patch: int = 16
    shuffle: int = 2
    vision_width: int = 192
    vision_layers: int = 6
    vision_mlp: int = 768
    text_width: int = 192
    text_layers: int = 5
    text_mlp: int = 512
    kv_heads: int = 1
    vocabulary: int = 400
    rope_theta: float = 100_000.0

    @property
    def patches(self) -> int:
        """Patches per tile."""
        return (self.tile // self.patch) ** 2

    @property
    def tile_tokens(self) -> int:
        """Text-side tokens per tile."""
        return self.patches // self.shuffle**2

    @classmethod
    def read(cls, path: Path) -> Shape:
        """The shape saved by :meth:`write`."""
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        """Save as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))


class PatchEmbeddings(nn.Module):
    """Pixels to patch vectors plus learned positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.patch = shape.patch
        self.patch_embedding = nn.Conv2d(3, shape.vision_width, shape.patch, shape.patch)
        self.position_embedding = nn.Embedding(shape.patches, shape.vision_width)

    def forward(self, tiles: Tensor) -> Tensor:
        """uint8 tiles [T, side, side, 3] to [T, P, D].

        A convolution whose stride is its kernel is one matrix product over cut-out patches, and as such it
        is several times faster on a CPU.
        """
        count, side, _, _ = tiles.shape
        p, n = self.patch, side // self.patch
        cut = tiles.view(count, n, p, n, p, 3).permute(0, 1, 3, 5, 2, 4).reshape(count, n * n, 3 * p * p)
        pixels = (cut.to(torch.float32) / 255.0 - 0.5) / 0.5
        flat = self.patch_embedding.weight.flatten(1)
        patches = F.linear(pixels.to(_compute_dtype(pixels)), flat, self.patch_embedding.bias)
        return patches + self.position_embedding.weight.to(patches.dtype)


class VisionAttention(nn.Module):
    """Bidirectional attention inside one tile."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.vision_width
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[T, P, D] to [T, P, D]."""
        t, p, d = x.shape
        q, k, v = (f(x).view(t, p, d // HEAD, HEAD).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj))
        mixed = _attend(q, k, v, None)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(t, p, d))
        return out


class VisionMLP(nn.Module):
    """Two linear layers with tanh-GELU between."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.vision_width, shape.vision_mlp)
        self.fc2 = nn.Linear(shape.vision_mlp, shape.vision_width)

    def forward(self, x: Tensor) -> Tensor:
        """[T, P, D] to [T, P, D]."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class VisionLayer(nn.Module):
    """Pre-norm transformer layer of the vision tower."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(shape.vision_width, eps=1e-6)
        self.self_attn = VisionAttention(shape)
        self.layer_norm2 = nn.LayerNorm(shape.vision_width, eps=1e-6)
        self.mlp = VisionMLP(shape)

    def forward(self, x: Tensor) -> Tensor:
        """[T, P, D] to [T, P, D]."""
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class VisionEncoder(nn.Module):
    """The stack of vision layers."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(shape) for _ in range(shape.vision_layers))


class VisionModel(nn.Module):
    """Tiles to patch features."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embeddings = PatchEmbeddings(shape)
        self.encoder = VisionEncoder(shape)
        self.post_layernorm = nn.LayerNorm(shape.vision_width, eps=1e-6)

    def forward(self, tiles: Tensor) -> Tensor:
        """uint8 [T, side, side, 3] to [T, P, D]."""
        x = self.embeddings(tiles)
        for layer in self.encoder.layers:
            x = layer(x)
        out: Tensor = self.post_layernorm(x)
        return out


class ModalityProjection(nn.Module):
    """The one matrix of the connector."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.proj = nn.Linear(shape.vision_width * shape.shuffle**2, shape.text_width, bias=False)


class Connector(nn.Module):
    """Pixel shuffle and projection into the text width."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shuffle = shape.shuffle
        self.modality_projection = ModalityProjection(shape)

    def forward(self, x: Tensor) -> Tensor:
        """[T, P, D] to [T, P / shuffle², text width]; the block of an output is read row by row."""
        t, p, d = x.shape
        n, s = int(p**0.5), self.shuffle
        blocks = x.view(t, n // s, s, n // s, s, d).permute(0, 1, 3, 2, 4, 5)
        out: Tensor = self.modality_projection.proj(blocks.reshape(t, p // s**2, d * s * s))
        return out


class TextAttention(nn.Module):
    """Grouped-query attention with half-rotation RoPE."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, kv = shape.text_width, shape.kv_heads * HEAD
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, kv, bias=False)
        self.v_proj = nn.Linear(width, kv, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor, cache: Cache | None) -> Tensor:
        """[B, S, D] to [B, S, D]; ``mask`` is additive [B, 1, S, keys]; ``cache`` grows when given."""
        b, s, d = x.shape
        q, k, v = (f(x).view(b, s, -1, HEAD).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj))
        q, k = _rotate(q, *rotation), _rotate(k, *rotation)
        if cache is not None:
            k, v = cache.append(self, k, v)
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        mixed = _attend(q, k, v, mask)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(b, s, d))
        return out


class TextMLP(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.text_width, shape.text_mlp, bias=False)
        self.up_proj = nn.Linear(shape.text_width, shape.text_mlp, bias=False)
        self.down_proj = nn.Linear(shape.text_mlp, shape.text_width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, D] to [B, S, D]."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class RMSNorm(nn.Module):
    """Root-mean-square norm, reckoned in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight).to(x.dtype)


class TextLayer(nn.Module):
    """Pre-norm transformer layer of the text decoder."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.text_width)
        self.self_attn = TextAttention(shape)
        self.post_attention_layernorm = RMSNorm(shape.text_width)
        self.mlp = TextMLP(shape)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor, cache: Cache | None) -> Tensor:
        """[B, S, D] to [B, S, D]."""
        x = x + self.self_attn(self.input_layernorm(x), rotation, mask, cache)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class TextModel(nn.Module):
    """Embeddings, decoder layers and the last norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.theta = shape.rope_theta
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.text_width)
        self.layers = nn.ModuleList(TextLayer(shape) for _ in range(shape.text_layers))
        self.norm = RMSNorm(shape.text_width)

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines [B, 1, S, 64] of token positions [B, S]."""
        steps = torch.arange(0, HEAD, 2, device=positions.device, dtype=torch.float32) / HEAD
        angles = positions[..., None].float() * self.theta**-steps
        angles = torch.cat((angles, angles), -1)[:, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor, cache: Cache | None = None) -> Tensor:
        """Embedded tokens [B, S, D] to normed hidden states [B, S, D]."""
        rotation = self.rotation(positions, x.dtype)
        for layer in self.layers:
            x = layer(x, rotation, mask.to(x.dtype), cache)
        out: Tensor = self.norm(x)
        return out


class Inner(nn.Module):
    """The three parts under the prefix ``model.``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.vision_model = VisionModel(shape)
        self.connector = Connector(shape)
        self.text_model = TextModel(shape)


class Network(nn.Module):
    """The whole model; the output matrix is the embedding matrix."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Inner(shape)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
                bias = getattr(module, "bias", None)
                if bias is not None:
                    nn.init.zeros_(bias)

    def see(self, tiles: Tensor) -> Tensor:
        """uint8 tiles [T, side, side, 3] to text-side features [T, tokens per tile, text width]."""
        out: Tensor = self.model.connector(self.model.vision_model(tiles))
        return out

    def embed(self, ids: Tensor, features: Tensor) -> Tensor:
        """Token ids [B, S] to [B, S, D]; image slots take the tile features in reading order."""
        x = self.model.text_model.embed_tokens(ids).to(features.dtype)
        slots = (ids == IMAGE_TOKEN)[..., None].expand_as(x)
        out: Tensor = x.masked_scatter(slots, features.reshape(-1))
        return out

    def hidden(self, tiles: Tensor, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Hidden states [B, S, D] of a batch in one pass."""
        out: Tensor = self.model.text_model(self.embed(ids, self.see(tiles)), positions, mask)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] to [..., V]."""
        return F.linear(hidden, self.model.text_model.embed_tokens.weight.to(hidden.dtype))


class Cache:
    """Keys and values of tokens already seen, per attention module."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def append(self, owner: nn.Module, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add [B, kv heads, S, 64] and return everything kept so far."""
        if id(owner) in self._kept:
            old_k, old_v = self._kept[id(owner)]
            k, v = torch.cat((old_k, k), 2), torch.cat((old_v, v), 2)
        self._kept[id(owner)] = (k, v)
        return k, v


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention [B, H, S, 64]. On a CPU the fused backward pass is slower than three plain products."""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * HEAD**-0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    return torch.softmax(scores, -1, dtype=scores.dtype) @ v


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat((-high, low), -1) * sin


def _compute_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
