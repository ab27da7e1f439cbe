from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seatrial.errors import ModelError
from seatrial.vision.config import load_config
from tests.golden.checkpoints import TEMPLATE


def write(folder: Path, config: dict[str, Any], **others: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in others.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


PUBLISHED_256M = {
    "model_type": "smolvlm",
    "scale_factor": 4,
    "image_token_id": 49190,
    "pad_token_id": 128002,
    "vision_config": {"hidden_size": 768, "num_attention_heads": 12, "image_size": 512, "patch_size": 16},
    "text_config": {"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49280,
                    "num_hidden_layers": 30, "intermediate_size": 1536, "rope_theta": 100000,
                    "max_position_embeddings": 8192, "eos_token_id": 49279},
}  # fmt: skip
PROCESSOR = {"max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048}}


def test_missing_keys_take_the_class_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, PUBLISHED_256M, preprocessor_config=PROCESSOR))
    assert (config.vision.layers, config.vision.intermediate_size) == (12, 3072)
    assert config.tokens_per_tile == 64
    assert config.text.head_dim == 64
    assert config.eos_token_ids == (49279,)


def test_2_2b_lacks_num_attention_heads(tmp_path: Path) -> None:
    published = {
        **PUBLISHED_256M,
        "scale_factor": 3,
        "vision_config": {"hidden_size": 1152, "num_attention_heads": 16, "image_size": 384, "patch_size": 14,
                          "intermediate_size": 4304, "num_hidden_layers": 27},
        "text_config": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "vocab_size": 49280,
                        "rope_parameters": {"rope_type": "default", "rope_theta": 273768.0}},
    }  # fmt: skip
    tiles = {**PROCESSOR, "max_image_size": {"longest_edge": 384}}
    config = load_config(write(tmp_path, published, preprocessor_config=tiles))
    assert (config.text.heads, config.text.kv_heads, config.text.head_dim) == (32, 32, 64)
    assert config.text.rope_theta == 273768.0
    assert (config.vision.grid, config.tokens_per_tile) == (27, 81)


def test_unknown_model_type_names_the_supported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="qwen2_vl") as caught:
        load_config(write(tmp_path, {"model_type": "qwen2_vl"}))
    assert "smolvlm, idefics3" in str(caught.value.hint)


@pytest.mark.parametrize("place", ["chat_template.jinja", "chat_template", "processor_config", "tokenizer_config"])
def test_chat_template_in_any_place(tmp_path: Path, place: str) -> None:
    write(tmp_path, PUBLISHED_256M, preprocessor_config=PROCESSOR)
    if place.endswith("jinja"):
        (tmp_path / place).write_text(TEMPLATE)
    else:
        write(tmp_path, PUBLISHED_256M, **{place: {"chat_template": TEMPLATE}})
    assert load_config(tmp_path).chat_template == TEMPLATE


def test_named_templates(tmp_path: Path) -> None:
    named = {"chat_template": [{"name": "tools", "template": "no"}, {"name": "default", "template": TEMPLATE}]}
    write(tmp_path, PUBLISHED_256M, preprocessor_config=PROCESSOR, tokenizer_config=named)
    assert load_config(tmp_path).chat_template == TEMPLATE


def test_picture_settings_nested_in_the_processor(tmp_path: Path) -> None:
    write(tmp_path, PUBLISHED_256M, processor_config={"image_processor": PROCESSOR, "image_seq_len": 64})
    assert load_config(tmp_path).picture.longest_edge == 2048


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {
                "vision_config": {
                    "hidden_size": 768,
                    "num_attention_heads": 7,
                    "image_size": 512,
                    "patch_size": 16,
                }
            },
            "heads",
        ),
        ({"text_config": {"rope_scaling": {"rope_type": "llama3", "factor": 8}}}, "rope_type"),
        ({"text_config": {"hidden_act": "gelu"}}, "hidden_act"),
        ({"vision_config": {"hidden_act": "relu"}}, "hidden_act"),
        ({"scale_factor": 5}, "does not divide"),
        ({"scale_factor": 0}, "malformed"),
        ({"vision_config": "none"}, "malformed"),
        ({"text_config": {"hidden_size": "wide"}}, "malformed"),
    ],
)
def test_what_is_not_supported_is_said(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        load_config(write(tmp_path, {**PUBLISHED_256M, **change}, preprocessor_config=PROCESSOR))


def test_stated_picture_tokens_must_agree(tmp_path: Path) -> None:
    write(tmp_path, PUBLISHED_256M, preprocessor_config=PROCESSOR, processor_config={"image_seq_len": 81})
    with pytest.raises(ModelError, match="image_seq_len 81"):
        load_config(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": ' * 100_000])
def test_damaged_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError):
        load_config(tmp_path)


def test_missing_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is missing"):
        load_config(tmp_path)
