"""The rendered pages of the recipe: the same number gives the same page, and what is asked is on it."""

from __future__ import annotations

import pytest

from recipes.pico import fonts, pages, pictures, questions, text
from seatrial.vision.pictures import plan

needs_fonts = pytest.mark.skipif(
    bool(fonts.missing()),
    reason=f"fonts missing: {', '.join(fonts.missing()[:3])}... (recipes/pico/README.md)",
)
# Answers that are a judgement about the page and not printed on it.
JUDGED = {"count", "rows", "quantity", "json", "setting", "buttons", "checked", "address", "pair"}
PRINTED = ("receipt", "form", "invoice", "letter", "table", "screen")


@needs_fonts
@pytest.mark.parametrize("family", pages.FAMILIES)
@pytest.mark.parametrize("held_out", [False, True])
def test_a_number_stands_for_one_page(family: str, held_out: bool) -> None:
    for seed in range(3):
        once, again = (pages.render(family, seed, held_out) for _ in range(2))
        assert [f.tobytes() for f in once.frames] == [f.tobytes() for f in again.frames]
        assert once.questions == again.questions
        assert once.transcript == again.transcript


@needs_fonts
@pytest.mark.parametrize("family", PRINTED)
def test_answers_are_printed_on_the_page(family: str) -> None:
    for seed in range(40):
        page = pages.render(family, seed, clean=True)
        printed = " ".join(page.transcript.split())
        assert page.questions
        for question in page.questions:
            if question.kind not in JUDGED:
                assert question.answer in printed, question


@needs_fonts
def test_receipts_add_up() -> None:
    for seed in range(40):
        found = {q.kind: q.answer for q in pages.render("receipt", seed).questions}
        if "subtotal" in found:
            cents = [int("".join(c for c in found[k] if c.isdigit())) for k in ("subtotal", "tax", "total")]
            assert cents[0] + cents[1] == cents[2]


@needs_fonts
def test_held_out_pages_use_held_out_layouts() -> None:
    for family in ("receipt", "form", "invoice", "letter", "table", "screen", "shapes", "chart"):
        train, held_out = pages.layouts(family)
        assert not set(train) & set(held_out)
        assert {pages.render(family, seed).layout for seed in range(10)} <= set(train)
        assert {pages.render(family, seed, True).layout for seed in range(10)} <= set(held_out)


def test_the_two_sides_of_the_vocabulary_share_nothing() -> None:
    train, held_out = text.VOCABULARY["train"], text.VOCABULARY["held_out"]
    assert train.keys() == held_out.keys()
    for name in train:
        assert not {w.lower() for w in train[name]} & {w.lower() for w in held_out[name]}, name


def test_no_face_is_on_both_sides() -> None:
    def files(faces: tuple[object, ...]) -> set[str]:
        return {name for face in faces for name in (face.regular, face.bold)}  # type: ignore[attr-defined]

    assert not files(fonts.TRAIN) & files(fonts.HELD_OUT)


def test_every_wording_takes_what_is_asked_about() -> None:
    for kind, wordings in questions.WORDINGS.items():
        assert len(wordings) >= 2, kind
        assert len({"{" in w for w in wordings}) == 1, kind


@pytest.mark.parametrize(
    ("size", "first", "second"),
    [
        ((512, 512), (512, 512), (512, 512)),
        ((300, 700), (220, 512), (256, 512)),
        ((1000, 300), (512, 154), (512, 256)),
        ((800, 600), (512, 384), (512, 512)),
        ((1, 4000), (1, 512), (256, 512)),
    ],
)
def test_sizes_of_the_two_resizes(size: tuple[int, int], first: tuple[int, int], second: tuple[int, int]) -> None:
    sizes, _, _ = plan(*size, pictures.SPLIT)
    assert sizes == [first, second]


def test_prompt_text_of_a_split_picture() -> None:
    slots = "<image>" * 64
    assert pictures.expand(0, 0) == f"<fake_token_around_image><global-img>{slots}<fake_token_around_image>"
    assert pictures.expand(2, 1) == (
        f"<fake_token_around_image><row_1_col_1>{slots}\n<fake_token_around_image><row_2_col_1>{slots}\n"
        f"\n<fake_token_around_image><global-img>{slots}<fake_token_around_image>"
    )
    assert pictures.expand_clip(1, 1).startswith(
        "You are provided the following series of one frames from a 0:00:01 [H:MM:SS] video.\n"
        "\nFrame from 00:00:<fake_token_around_image>"
    )
