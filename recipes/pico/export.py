"""Writes a trained network as a Hugging Face folder with int8 weights.

    python -m recipes.pico.export --checkpoint runs/pico/checkpoint.pt \\
        --tokenizer models/pico/tokenizer.json --out models/pico

Every matrix is stored as signed bytes with one float32 scale per output row (the "int-quantized" form of
compressed-tensors): weight = bytes * scale. Norms, biases, the patch embedding and the position embedding
stay bfloat16.
"""

# mypy: no-warn-return-any

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recipes.pico.network import HEAD, IMAGE_TOKEN, Network, Shape
from recipes.pico.pictures import LONGEST

KEPT = ("patch_embedding", "position_embedding")
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% elif line['type'] == 'video' %}{{ '<video>' }}"
    "{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

_WEIGHTS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
QUANTISATION = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "config_groups": {"group_0": {"targets": ["Linear", "Embedding"], "weights": _WEIGHTS}},
    "ignore": ["lm_head", "model.vision_model.embeddings.position_embedding"],
}


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix [N, K] to int8 [N, K] and scales [N, 1]; the scale of each row is the best of a few clips."""
    w = weight.float()
    widest = w.abs().amax(1, keepdim=True).clamp_min(1e-8) / 127
    best, lowest = widest, torch.full_like(widest, float("inf"))
    for clip in (1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.8):
        scale = widest * clip
        error = ((w / scale).round().clamp(-127, 127) * scale - w).square().sum(1, keepdim=True)
        better = error < lowest
        best, lowest = torch.where(better, scale, best), torch.where(better, error, lowest)
    return (w / best).round().clamp(-127, 127).to(torch.int8), best


def pack(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict to the tensors of the exported file."""
    packed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if tensor.ndim == 2 and not any(k in name for k in KEPT):
            packed[name], packed[f"{name}_scale"] = quantise(tensor)
        else:
            packed[name] = tensor.to(torch.bfloat16).contiguous()
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The exported tensors to the float32 state dict they stand for."""
    weights = {}
    for name, tensor in packed.items():
        if not name.endswith("_scale"):
            scale = packed.get(f"{name}_scale")
            weights[name] = tensor.float() if scale is None else tensor.float() * scale.float()
    return weights


def load(folder: Path) -> Network:
    """The network of an exported folder, with exactly the weights that its file stands for."""
    net = Network(shape_of(json.loads((folder / "config.json").read_text())))
    net.load_state_dict(unpack(load_file(folder / "model.safetensors")))
    return net.eval()


def shape_of(config: dict[str, Any]) -> Shape:
    """The sizes that a config.json states."""
    vision, text = config["vision_config"], config["text_config"]
    return Shape(
        tile=vision["image_size"],
        patch=vision["patch_size"],
        shuffle=config["scale_factor"],
        vision_width=vision["hidden_size"],
        vision_layers=vision["num_hidden_layers"],
        vision_mlp=vision["intermediate_size"],
        text_width=text["hidden_size"],
        text_layers=text["num_hidden_layers"],
        text_mlp=text["intermediate_size"],
        kv_heads=text["num_key_value_heads"],
        vocabulary=text["vocab_size"],
        rope_theta=text["rope_parameters"]["rope_theta"],
    )


def config_of(shape: Shape) -> dict[str, Any]:
    """The config.json of a network."""
    text = {
        "model_type": "llama",
        "hidden_size": shape.text_width,
        "num_hidden_layers": shape.text_layers,
        "intermediate_size": shape.text_mlp,
        "num_attention_heads": shape.text_width // HEAD,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": shape.rope_theta, "rope_type": "default"},
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "pretraining_tp": 1,
        "use_cache": True,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    vision = {
        "model_type": "smolvlm_vision",
        "hidden_size": shape.vision_width,
        "num_hidden_layers": shape.vision_layers,
        "intermediate_size": shape.vision_mlp,
        "num_attention_heads": shape.vision_width // HEAD,
        "image_size": shape.tile,
        "patch_size": shape.patch,
        "num_channels": 3,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
    }
    return {
        "model_type": "smolvlm",
        "architectures": ["SmolVLMForConditionalGeneration"],
        "image_token_id": IMAGE_TOKEN,
        "scale_factor": shape.shuffle,
        "tie_word_embeddings": True,
        "use_cache": True,
        "pad_token_id": 0,
        "text_config": text,
        "vision_config": vision,
        "quantization_config": QUANTISATION,
        "transformers_version": "5.23.0",
    }


def side_files(shape: Shape) -> dict[str, dict[str, Any]]:
    """The small JSON files beside weights and configuration."""
    return {
        "generation_config.json": {
            "bos_token_id": 1,
            "eos_token_id": 3,
            "pad_token_id": 0,
            "do_sample": False,
        },
        "preprocessor_config.json": {
            "image_processor_type": "SmolVLMImageProcessor",
            "processor_class": "SmolVLMProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "do_image_splitting": True,
            "do_rescale": True,
            "do_normalize": True,
            "do_pad": True,
            "resample": 1,
            "rescale_factor": 1 / 255,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
            "size": {"longest_edge": LONGEST},
            "max_image_size": {"longest_edge": shape.tile},
            "video_sampling": {"fps": 1, "max_frames": 8, "video_size": {"longest_edge": shape.tile}},
        },
        "processor_config.json": {"image_seq_len": shape.tile_tokens, "processor_class": "SmolVLMProcessor"},
        "chat_template.json": {"chat_template": TEMPLATE},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|im_start|>",
            "eos_token": "<end_of_utterance>",
            "pad_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
            "model_max_length": 8192,
            "clean_up_tokenization_spaces": False,
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "image_token": "<image>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
    }


def export(checkpoint: Path, tokenizer: Path, out: Path, shape: Shape) -> int:
    """Write the folder; returns the size of the weight file in bytes."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["net"]
    out.mkdir(parents=True, exist_ok=True)
    save_file(pack(state), out / "model.safetensors", {"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    for name, content in {"config.json": config_of(shape), **side_files(shape)}.items():
        (out / name).write_text(json.dumps(content, indent=1) + "\n")
    if tokenizer.resolve() != (out / "tokenizer.json").resolve():
        shutil.copyfile(tokenizer, out / "tokenizer.json")
    return (out / "model.safetensors").stat().st_size


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--shape", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    size = export(a.checkpoint, a.tokenizer, a.out, Shape.read(a.shape) if a.shape else Shape())
    print(f"model.safetensors: {size:,} bytes")


if __name__ == "__main__":
    main()
