"""Choosing the next token.  Order of the steps as in transformers: penalty, temperature, top-k, top-p, min-p."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seatrial.errors import SettingError
from seatrial.vision.ops.protocol import Array


@dataclass(frozen=True)
class Decoding:
    """How an answer is made; the defaults are greedy.

    `temperature` 0 takes the likeliest token; `top_k` 0, `top_p` 1 and `min_p` 0 switch those filters
    off; `repetition_penalty` 1 does nothing; `stop` strings end the answer and are not part of it;
    `seed` None draws a fresh one; `speculate` guesses tokens from the text so far, which changes the speed but
    not the answer.  Raises SettingError for values outside their range.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    speculate: bool = True

    def __post_init__(self) -> None:
        rules = {
            "max_new_tokens must be at least 1": self.max_new_tokens >= 1,
            "temperature must be 0 or more": self.temperature >= 0,
            "top_k must be 0 or more": self.top_k >= 0,
            "top_p must be above 0 and at most 1": 0 < self.top_p <= 1,
            "min_p must be at least 0 and below 1": 0 <= self.min_p < 1,
            "repetition_penalty must be above 0": self.repetition_penalty > 0,
            "stop strings must not be empty": all(self.stop),
        }
        for rule, holds in rules.items():
            if not holds:
                raise SettingError(f"{rule}.")


def choose(scores: Array, seen: list[int], decoding: Decoding, random: np.random.Generator) -> int:
    """Return the next token id from `scores` [vocabulary], given the ids so far."""
    scores = penalised(scores, seen, decoding.repetition_penalty)
    if decoding.temperature == 0:
        return int(scores.argmax())
    kept = filtered(scores / np.float32(decoding.temperature), decoding)
    probabilities = np.exp(kept - kept.max(), dtype=np.float64)
    return int(random.choice(len(probabilities), p=probabilities / probabilities.sum()))


def penalised(scores: Array, seen: list[int], penalty: float) -> Array:
    """Return `scores` [vocabulary] with those of `seen` ids divided (if positive) or multiplied by `penalty`."""
    if penalty == 1.0:
        return scores
    ids = np.unique(np.asarray(seen, np.int64))
    scores = scores.copy()
    at = scores[ids]
    scores[ids] = np.where(at < 0, at * np.float32(penalty), at / np.float32(penalty))
    return scores


def filtered(scores: Array, decoding: Decoding) -> Array:
    """Return `scores` [vocabulary] with everything top-k, top-p and min-p reject at minus infinity."""
    if 0 < decoding.top_k < len(scores):
        threshold = np.partition(scores, -decoding.top_k)[-decoding.top_k]
        scores = np.where(scores < threshold, np.float32(-np.inf), scores)
    if decoding.top_p < 1:
        order = np.argsort(-scores, kind="stable")
        probabilities = softmax(scores[order])
        # The token that crosses top_p is kept; so is the first, whatever its share.
        rejected = order[np.cumsum(probabilities) - probabilities >= decoding.top_p]
        scores = scores.copy()
        scores[rejected[rejected != order[0]]] = -np.inf
    if decoding.min_p > 0:
        probabilities = softmax(scores)
        scores = np.where(probabilities < decoding.min_p * probabilities.max(), np.float32(-np.inf), scores)
    return scores


def softmax(scores: Array) -> Array:
    """Return probabilities [vocabulary] of `scores`."""
    shifted = np.exp(scores - scores.max())
    result: Array = shifted / shifted.sum()
    return result


def log_probability(scores: Array, token_id: int) -> float:
    """Return the natural logarithm of the probability that `scores` [vocabulary] give `token_id`, unfiltered."""
    shifted = scores - scores.max()
    return float(shifted[token_id] - np.log(np.exp(shifted, dtype=np.float64).sum()))
