"""Runs a case through the engine and measures its distance from the golden values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from seatrial.vision.checkpoint import Model
from seatrial.vision.pictures import Tiles, cut, load, normalise
from seatrial.vision.prompt import Message, Prompt, build_prompt
from seatrial.vision.sampling import Decoding
from seatrial.vision.scheduling import Scheduler
from seatrial.vision.video import Clip, sample_indices
from tests.golden.cases import Case, Frames
from tests.golden.reference import NEW_TOKENS, probe

HERE = Path(__file__).parent


@cache
def golden_facts() -> dict[str, Any]:
    return json.loads((HERE / "golden.json").read_text())


@cache
def golden_arrays() -> dict[str, np.ndarray]:
    with np.load(HERE / "golden.npz") as archive:
        return dict(archive)


@dataclass(frozen=True)
class Distance:
    """How far a run is from the reference: logits relative to their range, seams relative to their largest value."""

    same_text: bool
    same_ids: bool
    same_pixels: bool
    same_grids: bool
    same_tokens: bool
    logits: float
    seams: dict[str, float]


def prompt_of(case: Case, model: Model) -> Prompt:
    """Build the prompt of a case with the engine's own code."""
    config = model.processor.config

    def part(given: Any) -> str | Tiles | Clip:
        if isinstance(given, str):
            return given
        if isinstance(given, Frames):
            return clip_of(given, model)
        (image,) = load(given, max_pixels=10**8, max_pages=1)
        return cut(image, config.picture)

    messages = [Message(role, tuple(part(p) for p in parts)) for role, parts in case.turns()]
    return build_prompt(messages, config, model.processor.tokenizer)


def clip_of(frames: Frames, model: Model) -> Clip:
    """Sample an already decoded clip as `video.load_clip` does."""
    from dataclasses import replace

    picture = model.processor.config.picture
    duration = len(frames.images) / frames.fps
    indices = sample_indices(len(frames.images), frames.fps, duration, picture.video_fps, picture.video_max_frames)
    whole = replace(picture, longest_edge=picture.video_longest_edge, split=False)
    pixels = np.concatenate([cut(frames.images[i], whole).pixels for i in indices])
    return Clip(pixels, tuple(i / frames.fps for i in indices), duration, frames.images[0].size)


def compare(case: Case, model: Model) -> Distance:
    """Run `case` and return its distance from the golden values."""
    start = f"{case.name}/"
    arrays = {name.removeprefix(start): value for name, value in golden_arrays().items() if name.startswith(start)}
    return distance(case, model, golden_facts()["cases"][case.name], arrays)


def distance(case: Case, model: Model, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Distance:
    """Run `case` and return its distance from `facts` (tokens, hashes) and `arrays` (ids, logits, seam/…)."""
    prompt = prompt_of(case, model)
    pixels = (
        normalise(prompt.tiles, model.processor.config.picture)
        if len(prompt.tiles)
        else np.empty((0, 3, 1, 1), np.float32)
    )
    seen: dict[str, list[np.ndarray]] = {}

    def observe(name: str, value: np.ndarray) -> None:
        seen.setdefault(name, []).append(value)

    decoding = Decoding(max_new_tokens=NEW_TOKENS)
    scheduler = Scheduler(model)
    state = scheduler.submit(prompt, decoding, observe=observe)
    tokens = state.tokens
    for _ in scheduler.pieces(state):
        pass
    scores, expected = last_logits(model, prompt), arrays["logits"]
    seams = {}
    for name, values in seen.items():
        golden = arrays[f"seam/{name}"]
        seams[name] = float(np.abs(probe(values[0], values[-1]) - golden).max() / max(1.0, np.abs(golden).max()))
    return Distance(
        same_text=hashlib.sha256(prompt.text.encode()).hexdigest() == facts["text_sha256"],
        same_ids=prompt.ids == arrays["ids"].tolist(),
        same_pixels=hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest() == facts["pixels_sha256"],
        same_grids=[list(grid) for grid in prompt.grids] == facts["grids"],
        same_tokens=tokens == facts["tokens"],
        logits=float(np.abs(scores - expected).max() / (expected.max() - expected.min())),
        seams=seams,
    )


def last_logits(model: Model, prompt: Prompt) -> np.ndarray:
    """Return the scores [vocabulary] after the prompt."""
    from seatrial.vision import decoder
    from seatrial.vision.generation import prompt_embeddings
    from seatrial.vision.kv import KvCache

    x, _ = prompt_embeddings(model, prompt)
    kept = KvCache(model.pool)
    hidden = decoder.forward(model.decoder, x, [(kept, len(x))], model.ops)
    kept.release()
    return decoder.logits(model.decoder, np.ascontiguousarray(hidden[-1:]), model.ops)[0]


def main() -> None:
    """Print, for each implementation of the operations, how far the whole suite is from the reference."""
    import tempfile

    from seatrial.vision.checkpoint import load_model
    from seatrial.vision.ops import available, select
    from tests.golden.cases import all_cases
    from tests.golden.checkpoints import SHAPES, make_checkpoint

    print(f"transformers {golden_facts()['transformers']}, float32; logits as a share of their range")
    for name in available():
        found = []
        for shape in SHAPES:
            with tempfile.TemporaryDirectory() as folder:
                model = load_model(make_checkpoint(shape, Path(folder)), "f32", ops=select(name))
                found += [compare(case, model) for case in all_cases() if case.checkpoint == shape.name]
        tokens = sum(result.same_tokens for result in found)
        exact = sum(r.same_text and r.same_ids and r.same_pixels and r.same_grids for r in found)
        worst = max(result.logits for result in found)
        seam = max(max(result.seams.values()) for result in found)
        print(
            f"{name:<10} {len(found)} cases: prompts and pixels equal in {exact}, greedy tokens equal in {tokens},"
            f" largest logit difference {worst:.1e}, largest seam difference {seam:.1e}"
        )


if __name__ == "__main__":
    main()
