"""Engines that are measured beside ours, each in a process and a Python of its own.

A peer is a module here with `open_model(job)`, which loads the model and returns (facts, answer):
facts for the report, among them `tiles`, `prompt_tokens`, `precision` and `operations`, and a function
that answers the prompt once and returns its `Sample`.  The modules import their engine inside that
function only; `prepare(folder, form)`, where there is one, runs before in the Python of Seatrial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Sample = dict[str, float]
"""`first_token` in seconds (all tiles and the whole prompt) and `tokens_per_second` of decoding."""

OpenModel = Callable[["Job"], tuple[dict[str, Any], Callable[[], Sample]]]


@dataclass(frozen=True)
class Job:
    """A checkpoint folder with `prompt.npz` in it, tokens to make, and the form of the weights."""

    folder: Path
    tokens: int
    form: str


@dataclass(frozen=True)
class Peer:
    """`forms`: what is run beside each of our precisions; `package` is what must be importable for it."""

    module: str
    package: str
    install: str
    forms: Mapping[str, str] = field(default_factory=dict)


OURS = "seatrial"
ENGINES = {
    OURS: Peer("ours", "seatrial", "make test", {name: name for name in ("f32", "bf16", "int8", "int4")}),
    "transformers": Peer(
        "hugging_face",
        "transformers",
        "pip install 'seatrial[reference]'",
        {"f32": "f32", "bf16": "bf16", "int8": "bf16", "int4": "bf16"},
    ),
    "llama.cpp": Peer(
        "llama_cpp_python",
        "llama_cpp",
        "pip install llama-cpp-python",
        {"f32": "f32", "bf16": "bf16", "int8": "q8_0", "int4": "q4_0"},
    ),
    "openvino": Peer(
        "optimum_openvino",
        "optimum.intel.openvino",
        "see bench/README.md",
        {"bf16": "bf16", "int8": "int8", "int4": "int4"},
    ),
}
