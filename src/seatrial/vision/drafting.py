"""A small model of the family as the draft of a large one: it reads the same pictures and guesses the answer.

Both must have the same vocabulary.  The small model's own tiles and prompt differ (other resolution, other
tokens per tile); only the tokens of the answer are exchanged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from seatrial.errors import SettingError
from seatrial.vision import decoder as text_tower
from seatrial.vision.checkpoint import Model
from seatrial.vision.generation import prompt_embeddings
from seatrial.vision.kv import KvCache
from seatrial.vision.ops.protocol import Array
from seatrial.vision.prompt import Prompt

_GUESS = 4
_TRIALS = 6
"""Guesses after which it is decided whether they pay."""


def check_draft(model: Model, draft: Model) -> None:
    """Raise SettingError unless `draft` speaks the tokens of `model`."""
    own, other = (m.processor.config.text.vocab_size for m in (model, draft))
    probe = "The total is 1,234.50 €, due 2026-01-31."
    same = model.processor.tokenizer.encode([(probe, False)]) == draft.processor.tokenizer.encode([(probe, False)])
    if own != other or not same:
        raise SettingError(
            f"{draft.processor.files.path} has another vocabulary than {model.processor.files.path}.",
            hint="A draft must be a smaller model of the same family.",
        )


class ModelDraft:
    """Guesses the next four tokens by running `draft` on `prompt`, its own prompt of the same question.

    `start` is the length of the large model's prompt.  Once six guesses were checked, it stops for good if
    the passes they saved took less time than it did.
    """

    def __init__(self, draft: Model, prompt: Prompt, start: int) -> None:
        self._model = draft
        self._prompt = prompt
        self._start = start
        self._cache: KvCache | None = None
        self._seconds = 0.0
        self._saved = 0.0
        self._trials = 0
        self._off = False

    def propose(self, tokens: Sequence[int]) -> list[int]:
        """Read what is new in `tokens`, then guess greedily; nothing once it has been switched off."""
        if self._off:
            return []
        began = time.perf_counter()
        guess: list[int] = []
        scores = self._read(list(tokens[self._start :]))
        while True:
            guess.append(int(scores.argmax()))
            if len(guess) == _GUESS or guess[-1] in self._model.eos_ids:
                break
            scores = self._run(text_tower.embed(self._model.decoder, guess[-1:]))
        self._seconds += time.perf_counter() - began
        return guess

    def judge(self, proposed: int, accepted: int, seconds: float) -> None:
        """Count what the guess saved; decide when there were enough."""
        self._saved += accepted * seconds
        self._trials += 1
        if self._trials == 1:
            self._seconds = 0.0  # the first look at the pictures is spent whatever is decided
        if self._trials >= _TRIALS and self._saved < self._seconds:
            self._off = True
            self.close()

    def close(self) -> None:
        """Give the pages back."""
        if self._cache is not None:
            self._cache.release()
            self._cache = None

    def _read(self, answer: list[int]) -> Array:
        """Bring the cache to the end of `answer`, whose last token is new; return the scores after it."""
        if self._cache is None:
            self._cache = KvCache(self._model.pool)
            x_SC, _ = prompt_embeddings(self._model, self._prompt)
            self._run(x_SC)
            self._known: list[int] = []
        length = 0
        while length < min(len(self._known), len(answer) - 1) and self._known[length] == answer[length]:
            length += 1
        self._cache.cut(len(self._prompt.ids) + length)
        self._known = self._known[:length]
        new = answer[length:]
        scores = self._run(text_tower.embed(self._model.decoder, new))
        self._known += new
        return scores

    def _run(self, x_SC: Array) -> Array:
        assert self._cache is not None
        model = self._model
        hidden = text_tower.forward(model.decoder, x_SC, [(self._cache, len(x_SC))], model.ops)
        scores: Array = text_tower.logits(model.decoder, np.ascontiguousarray(hidden[-1:]), model.ops)[0]
        return scores
