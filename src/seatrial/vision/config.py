"""Configuration of a checkpoint: `config.json` and its companions, with the class defaults.

A key that a file leaves out takes the default of the reference's configuration class (transformers
5.23, `configuration_smolvlm.py`, `configuration_llama.py`, `image_processing_pil_smolvlm.py`); sizes
are never guessed from a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.errors import ModelError
from seatrial.vision.files import ModelFiles, open_files

SUPPORTED_MODEL_TYPES = ("smolvlm", "idefics3")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class VisionConfig:
    """The picture tower (SigLIP); sizes in pixels and channels."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    image_size: int
    patch_size: int
    layer_norm_eps: float

    @property
    def grid(self) -> int:
        """Patches along one side of a tile."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """Patches of a tile."""
        return self.grid**2

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.heads


@dataclass(frozen=True)
class TextConfig:
    """The text tower (Llama); `max_positions` is the context in tokens."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    rope_theta: float
    rms_norm_eps: float
    max_positions: int
    attention_bias: bool
    mlp_bias: bool


@dataclass(frozen=True)
class PictureConfig:
    """How pictures become tiles; all sizes in pixels.

    `longest_edge` is the first resize (None: keep the size), `tile` the side of a tile, `resample`
    Pillow's number of a filter.
    """

    longest_edge: int | None
    tile: int
    split: bool
    resample: int
    rescale_factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    video_fps: float
    video_max_frames: int
    video_longest_edge: int


@dataclass(frozen=True)
class ModelConfig:
    """A whole checkpoint; `tokens_per_tile` picture tokens enter the text tower for each tile."""

    model_type: str
    vision: VisionConfig
    text: TextConfig
    picture: PictureConfig
    scale_factor: int
    image_token_id: int
    eos_token_ids: tuple[int, ...]
    tied: bool
    tokens_per_tile: int
    chat_template: str | None
    quantization: str | None


def load_config(source: Path | ModelFiles) -> ModelConfig:
    """Read the configuration of a checkpoint: its folder, its GGUF file, or what `open_files` gave for it.

    Raises ModelError when `config.json` is missing or malformed, or the model is not of a supported
    family (it names those that are).
    """
    files = open_files(source)
    config = files.json("config.json", required=True)
    model_type = config.get("model_type")
    if model_type not in SUPPORTED_MODEL_TYPES:
        raise ModelError(
            f"{files.where('config.json')}: model_type {model_type!r} is not supported.",
            hint=f"Supported: {', '.join(SUPPORTED_MODEL_TYPES)} (the SmolVLM, SmolVLM2 and Idefics3 families).",
            path=files.path,
        )
    try:
        return _model_config(files, config, str(model_type))
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as problem:
        raise ModelError(f"{files.path}: the configuration is malformed: {problem!r}.", path=files.path) from problem


def _model_config(files: ModelFiles, config: Json, model_type: str) -> ModelConfig:
    folder = files.path
    vision = _vision_config(config.get("vision_config") or {})
    text = _text_config(config.get("text_config") or {})
    scale = int(config.get("scale_factor", 2))
    preprocessor = files.json("preprocessor_config.json")
    processor = files.json("processor_config.json")
    # Newer checkpoints nest the picture settings inside processor_config.json.
    preprocessor = preprocessor or processor.get("image_processor") or {}
    generation = files.json("generation_config.json")
    tokens_per_tile = vision.patches // scale**2
    stated = processor.get("image_seq_len")
    if stated is not None and int(stated) != tokens_per_tile:
        raise ModelError(
            f"{folder}: processor_config.json says image_seq_len {stated}, the tower makes {tokens_per_tile}.",
            path=folder,
        )
    if vision.grid % scale:
        raise ModelError(f"{folder}: scale_factor {scale} does not divide the {vision.grid} patches of a side.")
    picture = _picture_config(preprocessor, processor.get("video_processor") or {})
    if picture.tile != vision.image_size:
        raise ModelError(
            f"{folder}: tiles are {picture.tile} pixels wide, the tower takes {vision.image_size}.",
            path=folder,
        )
    quantization = config.get("quantization_config") or {}
    return ModelConfig(
        model_type=model_type,
        vision=vision,
        text=text,
        picture=picture,
        scale_factor=scale,
        image_token_id=int(config.get("image_token_id", 128257)),
        eos_token_ids=_eos(generation, config),
        tied=bool(config.get("tie_word_embeddings", False)),
        tokens_per_tile=tokens_per_tile,
        chat_template=_chat_template(files),
        quantization=quantization.get("quant_method"),
    )


def _vision_config(values: Json) -> VisionConfig:
    activation = values.get("hidden_act", "gelu_pytorch_tanh")
    if activation != "gelu_pytorch_tanh":
        raise ModelError(f"vision_config: hidden_act {activation!r} is not supported (gelu_pytorch_tanh is).")
    config = VisionConfig(
        hidden_size=int(values.get("hidden_size", 1152)),
        intermediate_size=int(values.get("intermediate_size", 3072)),
        layers=int(values.get("num_hidden_layers", 12)),
        heads=int(values.get("num_attention_heads", 16)),
        image_size=_square(values.get("image_size", 224)),
        patch_size=_square(values.get("patch_size", 32)),
        layer_norm_eps=float(values.get("layer_norm_eps", 1e-6)),
    )
    if config.hidden_size % config.heads:
        raise ModelError(f"vision_config: {config.heads} heads do not divide hidden_size {config.hidden_size}.")
    return config


def _text_config(values: Json) -> TextConfig:
    activation = values.get("hidden_act", "silu")
    if activation != "silu":
        raise ModelError(f"text_config: hidden_act {activation!r} is not supported (silu is).")
    hidden = int(values.get("hidden_size", 4096))
    heads = int(values.get("num_attention_heads", 32))
    config = TextConfig(
        hidden_size=hidden,
        intermediate_size=int(values.get("intermediate_size", 11008)),
        layers=int(values.get("num_hidden_layers", 32)),
        heads=heads,
        kv_heads=int(values.get("num_key_value_heads") or heads),
        head_dim=int(values.get("head_dim") or hidden // heads),
        vocab_size=int(values.get("vocab_size", 32000)),
        rope_theta=_rope_theta(values),
        rms_norm_eps=float(values.get("rms_norm_eps", 1e-5)),
        max_positions=int(values.get("max_position_embeddings", 2048)),
        attention_bias=bool(values.get("attention_bias", False)),
        mlp_bias=bool(values.get("mlp_bias", False)),
    )
    if config.heads % config.kv_heads:
        raise ModelError(f"text_config: {config.kv_heads} key/value heads do not divide {config.heads} heads.")
    return config


def _rope_theta(values: Json) -> float:
    """Read theta from either generation of the key; only unscaled rotation is supported."""
    parameters = values.get("rope_parameters") or values.get("rope_scaling") or {}
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        raise ModelError(f"text_config: rope_type {kind!r} is not supported (default is).")
    theta = parameters.get("rope_theta", values.get("rope_theta"))
    return 10000.0 if theta is None else float(theta)


def _picture_config(values: Json, video_processor: Json) -> PictureConfig:
    size = values.get("size", {"longest_edge": 4 * 364})
    longest = int(size["longest_edge"]) if "longest_edge" in size else None
    sampling = values.get("video_sampling") or video_processor.get("video_sampling") or {}
    tile = int((values.get("max_image_size") or {"longest_edge": 364})["longest_edge"])
    video_size = sampling.get("video_size") or {"longest_edge": tile}
    normalised = bool(values.get("do_normalize", True))
    return PictureConfig(
        longest_edge=longest if values.get("do_resize", True) else None,
        tile=tile,
        split=bool(values.get("do_image_splitting", True)),
        resample=int(values.get("resample", 1)),
        rescale_factor=float(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 1.0,
        mean=tuple(map(float, values.get("image_mean", (0.5,) * 3))) if normalised else (0.0,) * 3,
        std=tuple(map(float, values.get("image_std", (0.5,) * 3))) if normalised else (1.0,) * 3,
        video_fps=float(sampling.get("fps", 1)),
        video_max_frames=int(sampling.get("max_frames", 64)),
        video_longest_edge=int(video_size["longest_edge"]),
    )


def _eos(generation: Json, config: Json) -> tuple[int, ...]:
    text = config.get("text_config") or {}
    for stated in (generation.get("eos_token_id"), config.get("eos_token_id"), text.get("eos_token_id")):
        if stated is not None:
            return tuple(stated) if isinstance(stated, list) else (int(stated),)
    return ()


def _chat_template(files: ModelFiles) -> str | None:
    """Return the template from any of the places a checkpoint may keep it."""
    plain = files.text("chat_template.jinja")
    if plain is not None:
        return plain
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        template = files.json(name).get("chat_template")
        if isinstance(template, list):  # named templates: [{"name": …, "template": …}]
            template = next((t["template"] for t in template if t.get("name") == "default"), None)
        if template:
            return str(template)
    return None


def _square(size: Any) -> int:
    if isinstance(size, list):
        if len(set(size)) != 1:
            raise ModelError(f"vision_config: only square tiles and patches are supported, not {size}.")
        return int(size[0])
    return int(size)
