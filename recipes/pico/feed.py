"""Pages to training examples: tiles, tokens, positions and the attention between them.

A page is shown once and asked about many times. The questions do not see one another: each is a branch
that continues the picture as if it were the only one, so every answer is trained under the conditions in
which users ask, and the picture, which is the expensive part, is computed once. A share of the examples is
a real conversation instead, in which later turns follow earlier ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from recipes.pico import pictures
from recipes.pico.canvas import Page, Question
from recipes.pico.pages import render
from recipes.pico.questions import WORDINGS

END = "<end_of_utterance>"
SYSTEM = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "You read documents.",
    "Answer the question about the picture.",
)


@dataclass
class Example:
    """One page with its questions, ready for the network."""

    family: str
    tiles: NDArray[np.uint8]  # [T, 256, 256, 3]
    ids: NDArray[np.int64]  # [S]
    positions: NDArray[np.int64]  # [S]
    branch: NDArray[np.int64]  # [S], 0 = shared by all branches
    answer: NDArray[np.bool_]  # [S], tokens that the loss is taken on


def picture_parts(page: Page) -> tuple[NDArray[np.uint8], str]:
    """Tiles of all pictures of a page, and the text that stands for them."""
    if page.clip:
        tiles = np.stack([pictures.frame(f) for f in page.frames])
        return tiles, pictures.expand_clip(len(page.frames), len(page.frames))
    if page.single:
        return np.stack([pictures.frame(f) for f in page.frames]), pictures.expand(0, 0) * len(page.frames)
    split = [pictures.split(f) for f in page.frames]
    return np.concatenate([t for t, _, _ in split]), "".join(pictures.expand(r, c) for _, r, c in split)


def prompt_start(page: Page, text: str) -> str:
    """The prompt up to and including the pictures; a clip begins with a space like any text."""
    return f"<|im_start|>User:{' ' if page.clip else ''}{text}"


def _chosen(page: Page, rng: random.Random, most: int) -> list[Question]:
    practice = page.family == "words"  # one tile full of text: reading all of it is the lesson
    questions = rng.sample(page.questions, min(1 if practice else most, len(page.questions)))
    if page.transcript and (practice or rng.random() < 0.4):
        questions.append(Question("transcribe", rng.choice(WORDINGS["transcribe"]), page.transcript))
    rng.shuffle(questions)
    return questions


def assemble(page: Page, rng: random.Random, tokenizer: Tokenizer, most: int = 7) -> Example:
    """A training example of one page with up to ``most`` questions."""
    tiles, text = picture_parts(page)
    start = prompt_start(page, text)
    questions = _chosen(page, rng, most)
    style = rng.random()
    first_text = style < 0.06 and bool(questions) and not page.clip
    if first_text:  # question before the picture: one branch only
        start, questions = (
            f"<|im_start|>User: {questions[0].text}{text}",
            [Question(questions[0].kind, "", questions[0].answer)],
        )
    elif style < 0.10:
        start = f"<|im_start|>System: {rng.choice(SYSTEM)}{END}\nUser:{' ' if page.clip else ''}{text}"
    chat = not first_text and style > 0.9
    if chat:
        questions = questions[:4]

    def encode(string: str) -> list[int]:
        return list(tokenizer.encode(string, add_special_tokens=False).ids)

    ids = encode(start)
    shared = len(ids)
    positions, branch, answer = list(range(shared)), [0] * shared, [False] * shared
    for number, question in enumerate(questions, 1):
        lead = "\nUser: " if chat and number > 1 else ""
        asked = encode(f"{lead}{question.text}{END}\nAssistant:")
        said = encode(f" {question.answer}{END}")
        begin = positions[-1] + 1 if chat else shared
        ids += asked + said
        positions += range(begin, begin + len(asked) + len(said))
        branch += [0 if chat else number] * (len(asked) + len(said))
        answer += [False] * len(asked) + [True] * len(said)
    return Example(page.family, tiles, np.array(ids), np.array(positions), np.array(branch), np.array(answer))


@dataclass
class Batch:
    """Padded examples. ``mask`` is True where a token (second axis) may look at another (third axis)."""

    tiles: NDArray[np.uint8]  # [T, 256, 256, 3]
    ids: NDArray[np.int64]  # [B, S]
    positions: NDArray[np.int64]  # [B, S]
    mask: NDArray[np.bool_]  # [B, S, S]
    answer: NDArray[np.bool_]  # [B, S]
    families: list[str]


def collate(examples: list[Example]) -> Batch:
    """Examples to one padded batch, the length rounded up to 32."""
    longest = -(-max(len(e.ids) for e in examples) // 32) * 32
    ids = np.zeros((len(examples), longest), np.int64)
    positions, branch, answer = ids.copy(), ids - 1, ids.astype(bool)
    for i, e in enumerate(examples):
        n = len(e.ids)
        ids[i, :n], positions[i, :n], branch[i, :n], answer[i, :n] = e.ids, e.positions, e.branch, e.answer
    same = branch[:, :, None] == branch[:, None, :]
    mask = (same | (branch[:, None, :] == 0)) & np.tri(longest, dtype=bool)
    return Batch(
        np.concatenate([e.tiles for e in examples]),
        ids,
        positions,
        mask,
        answer,
        [e.family for e in examples],
    )


def batches(
    tokenizer_path: str,
    mixes: Sequence[Mapping[str, float]],
    stage: Callable[[], int],
    tiles: int,
    numbers: Iterable[int],
    seed: int,
) -> Iterator[Batch]:
    """Batches of at most ``tiles`` tiles; pages of equal tile count are kept together.

    ``numbers`` name the pages, ``stage`` says which mix is in force when a page is made.
    """
    tokenizer = Tokenizer.from_file(tokenizer_path)
    waiting: dict[int, list[Example]] = {}
    for number in numbers:
        mix = mixes[stage()]
        families, weights = list(mix), list(mix.values())
        rng = random.Random(f"{seed}/{number}")
        page = render(rng.choices(families, weights)[0], rng.getrandbits(40))
        example = assemble(page, rng, tokenizer)
        count = len(example.tiles)
        group = waiting.setdefault(count, [])
        group.append(example)
        if (len(group) + 1) * count > tiles:
            yield collate(waiting.pop(count))
