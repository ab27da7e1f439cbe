"""Trains the byte-level tokenizer on text that the pages themselves show.

    python -m recipes.pico.tokens --out tokenizer.json --vocabulary 400

Digits stay single, so that numbers are read digit by digit. The special tokens come first: ids 0 to 42.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from recipes.pico.pages import render

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<end_of_utterance>",
    "<fake_token_around_image>",
    "<image>",
    "<global-img>",
    *(f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)),
)


def corpus(pages: int, seed: int = 1) -> Iterator[str]:
    """Questions, answers and transcripts of training pages."""
    rng = random.Random(seed)
    for number in range(pages):
        page = render(rng.choice(("receipt", "form", "invoice", "letter", "screen", "table")), number, clean=True)
        yield page.transcript
        for question in page.questions:
            yield f"{question.text}\nAssistant: {question.answer}"


def train(vocabulary: int, pages: int) -> Tokenizer:
    """A tokenizer with ``vocabulary`` entries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(name, special=True, normalized=False) for name in SPECIAL]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus(pages), trainer)
    return tokenizer


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vocabulary", type=int, default=400)
    parser.add_argument("--pages", type=int, default=2000)
    a = parser.parse_args()
    train(a.vocabulary, a.pages).save(str(a.out))


if __name__ == "__main__":
    main()
