"""transformers on PyTorch, greedy, with its key/value cache."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from bench.peers import Job, Sample


def open_model(job: Job) -> tuple[dict[str, Any], Callable[[], Sample]]:
    """Load the checkpoint as it is, in bfloat16 or float32."""
    import torch
    from transformers import AutoModelForImageTextToText

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    dtype = torch.float32 if job.form == "f32" else torch.bfloat16
    began = time.perf_counter()
    model = AutoModelForImageTextToText.from_pretrained(job.folder, dtype=dtype).eval()
    facts = {"load": time.perf_counter() - began, "precision": job.form, "operations": f"torch {torch.__version__}"}
    return generating(model, job, dtype, facts)


def generating(model: Any, job: Job, dtype: Any, facts: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], Sample]]:
    """Measure any `model` that has transformers' `generate`; pictures enter in `dtype`."""
    import numpy as np
    import torch

    saved = np.load(job.folder / "prompt.npz")
    pixels = torch.tensor((saved["tiles"].astype(np.float32) / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)[None]
    inputs = {
        "input_ids": torch.tensor(saved["ids"])[None],
        "attention_mask": torch.ones(1, len(saved["ids"]), dtype=torch.long),
        "pixel_values": pixels.to(dtype),
    }

    def answer() -> Sample:
        stamps = _Stamps()
        began = time.perf_counter()
        with torch.no_grad():
            model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=job.tokens,
                min_new_tokens=job.tokens,
                streamer=stamps,
                pad_token_id=0,
            )
        made = stamps.times[1:]  # the first call carries the prompt
        return {"first_token": made[0] - began, "tokens_per_second": (len(made) - 1) / (made[-1] - made[0])}

    return facts | {"tiles": len(saved["tiles"]), "prompt_tokens": len(saved["ids"])}, answer


class _Stamps:
    """Notes when each token arrives (transformers' streamer protocol)."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _value: Any) -> None:
        """Note one arrival."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing to close."""
