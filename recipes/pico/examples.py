"""Renders the pictures under examples/ from held-out faces, names and layouts.

    python -m recipes.pico.examples --model models/pico --out examples

For every picture it takes the first page that the given model answers as printed; the README beside the
pictures says so. Needs PyAV for the clip.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import torch
from PIL import Image
from tokenizers import Tokenizer

from recipes.pico.canvas import Page, Question
from recipes.pico.evaluate import answer
from recipes.pico.export import load
from recipes.pico.network import Network
from recipes.pico.pages import render

# File, family, and the kinds of question that go into questions.json with the wording to use.
WANTED: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "receipt.jpg",
        "receipt",
        {"total": "What is the total?", "date": "What is the date?", "shop": "What is the name of the shop?"},
    ),
    ("form.png", "form", {"field": "", "form_title": "What is the title of the form?"}),
    (
        "screen.png",
        "screen",
        {"error": "What does the error message say?", "main_button": "Which button is highlighted?"},
    ),
    ("shapes.png", "shapes", {"shapes": "How many shapes are there?", "colour": ""}),
    (
        "invoice.pdf",
        "invoice",
        {"invoice_number": "What is the invoice number?", "total": "What is the total?"},
    ),
    ("clip.mp4", "clip:types", {"typed_word": "Which word is typed?"}),
)
FRAMES_PER_SECOND = 10


def _questions(page: Page, wanted: dict[str, str]) -> list[Question]:
    found = []
    for kind, wording in wanted.items():
        fitting = [q for q in page.questions if q.kind == kind]
        if not fitting:
            return []
        found += [Question(kind, wording or q.text, q.answer) for q in fitting[: 1 if wording else 2]]
    return found


def _stored(page: Page, suffix: str) -> Page:
    """The page as it is after saving as a lossy file, if it is saved as one."""
    if suffix == ".png" or page.clip:
        return page
    buffer = io.BytesIO()
    page.image.save(buffer, "JPEG", quality=90)
    return Page(page.family, page.layout, [Image.open(buffer).convert("RGB")], page.questions, page.transcript)


def candidates(family: str, suffix: str) -> Iterator[Page]:
    """Held-out pages of good size, in the order of their numbers."""
    for seed in range(2_000_000, 2_000_400):
        page = render(family, seed, held_out=True, clean=suffix != ".jpg")
        page.single = False
        if page.clip or min(page.image.size) >= 300:
            yield _stored(page, suffix)


def choose(
    net: Network, tokenizer: Tokenizer, name: str, family: str, wanted: dict[str, str]
) -> tuple[Page, list[Question]]:
    """The first page whose questions are all answered as printed, else the one with the most."""
    best: tuple[int, Page, list[Question]] | None = None
    for page in candidates(family, Path(name).suffix):
        questions = _questions(page, wanted)
        if not questions:
            continue
        right = sum(answer(net, tokenizer, page, q.text) == q.answer for q in questions)
        if best is None or right / len(questions) > best[0] / len(best[2]):
            best = right, page, questions
        if right == len(questions):
            break
    assert best is not None
    return best[1], best[2]


def save_clip(frames: list[Image.Image], path: Path) -> None:
    """Each frame for one second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FRAMES_PER_SECOND)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt, stream.bit_rate = "yuv420p", 800_000
        for frame in frames:
            for _ in range(FRAMES_PER_SECOND):
                container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode(None))


def save(page: Page, path: Path, second: Page | None) -> None:
    """The page in the format of the file's name; a PDF has ``second`` as its second page."""
    if path.suffix == ".mp4":
        save_clip(page.frames, path)
    elif path.suffix == ".pdf":
        assert second is not None
        page.image.save(path, "PDF", resolution=110.0, save_all=True, append_images=[second.image], quality=90)
    elif path.suffix == ".jpg":
        page.image.save(path, "JPEG", quality=95)
    else:
        page.image.save(path, optimize=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    torch.set_num_threads(1)
    net, tokenizer = load(a.model), Tokenizer.from_file(str(a.model / "tokenizer.json"))
    a.out.mkdir(parents=True, exist_ok=True)
    asked: list[dict[str, object]] = []
    for name, family, wanted in WANTED:
        page, questions = choose(net, tokenizer, name, family, wanted)
        second = None
        if name.endswith(".pdf"):
            second, _ = choose(net, tokenizer, name, "letter", {"title": "What is the title?"})
        with tempfile.TemporaryDirectory(dir=a.out) as folder:
            fresh = Path(folder) / name
            save(page, fresh, second)
            fresh.replace(a.out / name)
        for q in questions:
            said = answer(net, tokenizer, page, q.text)
            print(name, "|", q.text, "|", q.answer, "|", said, flush=True)
            asked.append({"file": name, "question": q.text, "answer": q.answer} | ({"page": 1} if second else {}))
    (a.out / "questions.json").write_text(json.dumps(asked, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
