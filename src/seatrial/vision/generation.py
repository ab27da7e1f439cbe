"""From prompts to answers: vision, prefill, then one token at a time for all sequences together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seatrial.errors import ComputeError, ContextOverflowError
from seatrial.vision import decoder as text_tower
from seatrial.vision import tower as picture_tower
from seatrial.vision.checkpoint import Model
from seatrial.vision.kv import KvCache
from seatrial.vision.ops.protocol import Array
from seatrial.vision.prefixes import Signature, signature_of
from seatrial.vision.prompt import Prompt
from seatrial.vision.sampling import Decoding, choose, log_probability
from seatrial.vision.tower import Observe, Progress

FinishReason = Literal["stop", "length"]


@dataclass
class Timings:
    """Seconds spent; `first_token` counts from the start of vision to the first token chosen."""

    vision: float = 0.0
    prefill: float = 0.0
    first_token: float = 0.0
    decode: float = 0.0
    decode_tokens_per_second: float = 0.0


@dataclass
class AnswerState:
    """One answer in the making."""

    prompt: Prompt
    cache: KvCache
    random: np.random.Generator
    text: StopAwareText
    limit: int
    cached_tiles: int = 0
    cached_tokens: int = 0
    signature: Signature | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    timings: Timings = field(default_factory=Timings)


class StopAwareText:
    """Text as it may be shown: whole characters, no leading spaces, nothing of a stop string."""

    def __init__(self, model: Model, stop: Sequence[str]) -> None:
        self._stream = model.processor.tokenizer.stream()
        self._stop = stop
        self._held = ""
        self.shown = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        """Add a token; return what may be shown now."""
        return self._release(self._stream.push(token_id), last=False)

    def finish(self) -> str:
        """Return what was held back for a stop string that did not come."""
        return "" if self.stopped else self._release(self._stream.finish(), last=True)

    def _release(self, piece: str, *, last: bool) -> str:
        text = self._held + piece
        if not self.shown:
            text = text.lstrip(" ")  # an answer begins with a space token that belongs to the template
        hits = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if hits:
            self.stopped = True
            text, self._held = text[: min(hits)], ""
        else:
            held = 0 if last else self._possible_stop(text)
            self._held = text[len(text) - held :]
            text = text[: len(text) - held]
        self.shown += text
        return text

    def _possible_stop(self, text: str) -> int:
        """Length of the longest end of `text` that could begin a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop):
                return length
        return 0


def generate(
    model: Model,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    observe: Observe | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[int, str, AnswerState]]:
    """Answer all `prompts` together; yields (index, new text, sequence) after every token of each.

    Raises ContextOverflowError before anything is computed, ComputeError when scores are not numbers.
    """
    sequences = [_start(model, prompt, index, decoding) for index, prompt in enumerate(prompts)]
    try:
        for index, sequence in enumerate(sequences):
            scores = _prefill(model, sequence, observe, progress)
            yield index, _accept(model, sequence, scores, decoding), sequence
        while active := [(i, s) for i, s in enumerate(sequences) if s.finish_reason is None]:
            pieces = _step(model, [sequence for _, sequence in active], decoding)
            for (index, sequence), piece in zip(active, pieces, strict=True):
                yield index, piece, sequence
    finally:  # also when the reader stopped listening: a next turn may go on from here
        for sequence in sequences:
            _keep(model, sequence)


def _step(model: Model, active: Sequence[AnswerState], decoding: Decoding) -> list[str]:
    """Make one token of every sequence; return what each may show."""
    began = time.perf_counter()
    x = text_tower.embed(model.decoder, [sequence.tokens[-1] for sequence in active])
    hidden = text_tower.forward(model.decoder, x, [(sequence.cache, 1) for sequence in active], model.ops)
    scores = text_tower.logits(model.decoder, hidden, model.ops)
    pieces = [_accept(model, sequence, row, decoding) for sequence, row in zip(active, scores, strict=True)]
    spent = time.perf_counter() - began
    for sequence in active:
        sequence.timings.decode += spent
        sequence.timings.decode_tokens_per_second = (len(sequence.tokens) - 1) / sequence.timings.decode
    return pieces


def _keep(model: Model, sequence: AnswerState) -> None:
    """Let later prompts that begin like this one, answer included, use its keys and values."""
    if sequence.signature is not None and sequence.cache.length:
        whole = np.concatenate([sequence.signature, np.asarray(sequence.tokens, np.int64)])
        model.prefixes.keep(whole[: sequence.cache.length], sequence.cache)


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


def _start(model: Model, prompt: Prompt, index: int, decoding: Decoding) -> AnswerState:
    context = model.processor.config.text.max_positions
    room = context - len(prompt.ids)
    if room < 1:
        raise ContextOverflowError(
            f"The prompt has {len(prompt.ids):,} tokens ({len(prompt.tiles)} tiles); the model's context holds"
            f" {context:,}.",
            hint="Ask about fewer pages or pictures at once, or use a clip of fewer frames.",
            tokens=len(prompt.ids),
            context=context,
        )
    limit = min(decoding.max_new_tokens, room)
    seed = None if decoding.seed is None else [decoding.seed, index]
    return AnswerState(
        prompt=prompt,
        cache=KvCache(model.processor.config.text, len(prompt.ids) + limit),
        random=np.random.default_rng(seed),
        text=StopAwareText(model, decoding.stop),
        limit=limit,
    )


def _prefill(model: Model, sequence: AnswerState, observe: Observe | None, progress: Progress | None) -> Array:
    began = time.perf_counter()
    config = model.processor.config
    if model.prefixes.memory_limit and not observe:
        sequence.signature = signature_of(sequence.prompt, config.image_token_id, config.tokens_per_tile)
        sequence.cached_tokens = model.prefixes.start(sequence.signature, sequence.cache)
    x_SC, sequence.cached_tiles = prompt_embeddings(model, sequence.prompt, sequence.cached_tokens, observe, progress)
    seen = time.perf_counter()
    hidden = text_tower.forward(model.decoder, x_SC, [(sequence.cache, len(x_SC))], model.ops, observe)
    scores: Array = text_tower.logits(model.decoder, np.ascontiguousarray(hidden[-1:]), model.ops)[0]
    done = time.perf_counter()
    sequence.timings = Timings(vision=seen - began, prefill=done - seen, first_token=done - began)
    _keep(model, sequence)  # the next prompt of this batch may begin the same
    return scores


def _accept(model: Model, sequence: AnswerState, scores: Array, decoding: Decoding) -> str:
    """Choose a token, note it, and return the text that may be shown."""
    if not np.isfinite(scores).all():
        raise ComputeError(
            "The model's scores are not numbers.",
            hint="Try --precision f32; if it stays, the weights are damaged.",
        )
    seen = sequence.prompt.ids + sequence.tokens if decoding.repetition_penalty != 1 else []
    token = choose(scores, seen, decoding, sequence.random)
    sequence.tokens.append(token)
    if decoding.logprobs:
        sequence.logprobs.append(log_probability(scores, token))
    if token in model.eos_ids:
        sequence.finish_reason = "stop"
        return sequence.text.finish()
    piece = sequence.text.push(token)
    if sequence.text.stopped:
        sequence.finish_reason = "stop"
    elif len(sequence.tokens) >= sequence.limit:
        sequence.finish_reason = "length"
        piece += sequence.text.finish()
    return piece
