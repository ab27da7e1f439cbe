"""From a prompt to embeddings, and from a prompt to an answer in the making."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seatrial.errors import CapacityError, ContextOverflowError
from seatrial.vision import decoder as text_tower
from seatrial.vision import tower as picture_tower
from seatrial.vision.answers import AnswerState, StopAwareText
from seatrial.vision.checkpoint import Model
from seatrial.vision.kv import KvCache, pages_for
from seatrial.vision.ops.protocol import PAGE_POSITIONS, Array
from seatrial.vision.prompt import Prompt
from seatrial.vision.sampling import Decoding
from seatrial.vision.speculation import Draft, PromptLookup
from seatrial.vision.tower import Observe, Progress


def start_answer(
    model: Model,
    prompt: Prompt,
    decoding: Decoding,
    *,
    index: int = 0,
    observe: Observe | None = None,
    progress: Progress | None = None,
    draft: Draft | None = None,
) -> AnswerState:
    """Return the empty answer to `prompt`; `index` is its place in a batch, for the random numbers.

    `draft` guesses tokens (where `decoding` allows it), by default from the text so far.

    Raises ContextOverflowError when the prompt does not fit the model, CapacityError when it could never get
    room for its keys and values.
    """
    context = model.processor.config.text.max_positions
    room = context - len(prompt.ids)
    if room < 1:
        raise ContextOverflowError(
            f"The prompt has {len(prompt.ids):,} tokens ({len(prompt.tiles)} tiles); the model's context holds"
            f" {context:,}.",
            hint="Ask about fewer pages or pictures at once, use --detail low, or a clip of fewer frames.",
            tokens=len(prompt.ids),
            context=context,
        )
    limit = min(decoding.max_new_tokens, room)
    if pages_for(len(prompt.ids) + limit) > model.pool.pages:
        raise CapacityError(
            f"The prompt and its answer need {len(prompt.ids) + limit:,} positions; there is room for"
            f" {model.pool.pages * PAGE_POSITIONS:,}.",
            hint="Give the engine more memory (--memory), or ask for a shorter answer (--max-tokens).",
        )
    seed = None if decoding.seed is None else [decoding.seed, index]
    return AnswerState(
        prompt=prompt,
        decoding=decoding,
        cache=KvCache(model.pool),
        random=np.random.default_rng(seed),
        text=StopAwareText(model, decoding.stop),
        limit=limit,
        observe=observe,
        progress=progress,
        draft=(draft or PromptLookup()) if decoding.speculate else None,
    )


def prompt_embeddings(
    model: Model,
    prompt: Prompt,
    start: int = 0,
    observe: Observe | None = None,
    progress: Progress | None = None,
) -> tuple[Array, int]:
    """Return the embeddings [S - start, C] of a prompt from position `start`, picture tokens in place.

    Also returns how many of its tiles were not computed.
    """
    config = model.processor.config
    x_SC = text_tower.embed(model.decoder, prompt.ids[start:])
    is_picture = np.asarray(prompt.ids) == config.image_token_id
    before = int(is_picture[:start].sum())
    skipped = before // config.tokens_per_tile
    if skipped == len(prompt.tiles):
        return x_SC, skipped
    features, known = picture_features(model, prompt.tiles[skipped:], observe, progress)
    rows = features.reshape(-1, features.shape[-1])
    x_SC[is_picture[start:]] = rows[before - skipped * config.tokens_per_tile :]
    return x_SC, skipped + known


def picture_features(
    model: Model,
    tiles: NDArray[np.uint8],
    observe: Observe | None = None,
    progress: Progress | None = None,
) -> tuple[Array, int]:
    """Return picture tokens [N, T, hidden] of `tiles` [N, side, side, 3], and how many were not computed."""

    def compute(missing: NDArray[np.uint8]) -> Array:
        return picture_tower.encode_tiles(model.tower, missing, model.ops, observe, progress)

    if observe:  # someone wants to see every seam
        return compute(tiles), 0
    return model.features.encode(tiles, model.fingerprint, compute)


def first_bad_seam(model: Model, prompt: Prompt) -> str | None:
    """Run `prompt` once more and return the first place, e.g. "text.layers.3", whose values are not all numbers."""
    bad: list[str] = []

    def look(name: str, value: Array) -> None:
        if not bad and not np.isfinite(value).all():
            bad.append(name)

    x_SC, _ = prompt_embeddings(model, prompt, observe=look)
    cache = KvCache(model.pool)
    try:
        look("text.norm", text_tower.forward(model.decoder, x_SC, [(cache, len(x_SC))], model.ops, look))
    finally:
        cache.release()
    return bad[0] if bad else None
