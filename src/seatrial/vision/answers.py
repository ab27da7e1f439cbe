"""An answer in the making: its tokens, the text that may be shown, and how long things took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from seatrial.errors import ComputeError
from seatrial.vision.checkpoint import Model
from seatrial.vision.kv import KvCache
from seatrial.vision.ops.protocol import Array
from seatrial.vision.prefixes import Signature
from seatrial.vision.prompt import Prompt
from seatrial.vision.sampling import Decoding, choose, log_probability
from seatrial.vision.speculation import Draft
from seatrial.vision.tower import Observe, Progress

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass
class Timings:
    """Seconds spent; `waiting` for other requests before this one began, `first_token` from its beginning to the
    first token chosen."""

    waiting: float = 0.0
    vision: float = 0.0
    prefill: float = 0.0
    first_token: float = 0.0
    decode: float = 0.0
    decode_tokens_per_second: float = 0.0


@dataclass(eq=False)
class AnswerState:
    """One answer in the making; `pieces` are texts that nobody has taken yet, one for each token made."""

    prompt: Prompt
    decoding: Decoding
    cache: KvCache
    random: np.random.Generator
    text: StopAwareText
    limit: int
    observe: Observe | None = None
    progress: Progress | None = None
    draft: Draft | None = None
    cached_tiles: int = 0
    cached_tokens: int = 0
    drafted_tokens: int = 0
    signature: Signature | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    error: Exception | None = None
    timings: Timings = field(default_factory=Timings)
    submitted: float = field(default_factory=time.perf_counter)

    @property
    def is_over(self) -> bool:
        """Whether no token will be added."""
        return self.finish_reason is not None or self.error is not None

    def accept(self, model: Model, scores: Array) -> int:
        """Choose a token by `scores` [vocabulary], note it and its text; ComputeError if they are not numbers."""
        if not np.isfinite(scores).all():
            raise ComputeError(
                "The model's scores are not numbers.",
                hint="Try --precision f32; if it stays, the weights are damaged.",
            )
        seen = self.prompt.ids + self.tokens if self.decoding.repetition_penalty != 1 else []
        token = choose(scores, seen, self.decoding, self.random)
        self.tokens.append(token)
        if self.decoding.logprobs:
            self.logprobs.append(log_probability(scores, token))
        self.pieces.append(self._show(model, token))
        return token

    def _show(self, model: Model, token: int) -> str:
        if token in model.eos_ids:
            self.finish_reason = "stop"
            return self.text.finish()
        piece = self.text.push(token)
        if self.text.stopped:
            self.finish_reason = "stop"
        elif len(self.tokens) >= self.limit:
            self.finish_reason = "length"
            piece += self.text.finish()
        return piece


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
