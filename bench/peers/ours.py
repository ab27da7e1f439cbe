"""Seatrial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.peers import Job, Sample


def open_model(job: Job) -> tuple[dict[str, Any], Callable[[], Sample]]:
    """Load the engine; nothing is remembered from one answer to the next."""
    import numpy as np
    from PIL import Image

    from seatrial import vision

    nothing = vision.FeatureCache(memory_limit=0, disk_limit=0)
    engine = vision.open(job.folder, precision=job.form, features=nothing, prefixes=vision.PrefixCache(0))
    saved = np.load(job.folder / "prompt.npz")
    prompt = engine.model.processor.question(Image.fromarray(saved["picture"]), str(saved["question"]))

    # Random weights repeat themselves: guesses from the text so far would come true as they never do.
    decoding = vision.Decoding(max_new_tokens=job.tokens, speculate=False)

    def answer() -> Sample:
        times = engine.answer([prompt], decoding)[0].timings
        return {
            "first_token": times.first_token,
            "tokens_per_second": times.decode_tokens_per_second,
            "vision": times.vision,
            "prefill": times.prefill,
        }

    facts = {
        "load": engine.model.load_seconds,
        "tiles": len(prompt.tiles),
        "prompt_tokens": len(prompt.ids),
        "precision": engine.model.precision,
        "operations": engine.model.ops.instruction_set,
    }
    return facts, answer
