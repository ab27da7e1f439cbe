"""Exact match of greedy answers on pages with held-out faces, names, goods and layouts.

    python -m recipes.pico.evaluate --model models/pico --pages 200 --out results.json

Each page is asked one question, drawn from those the page can answer, exactly as a user would ask it:
picture first, then the question, nothing before. The weights are those of the exported file.
"""

# mypy: allow-untyped-decorators

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path

import torch
from tokenizers import Tokenizer

from recipes.pico.canvas import Page, Question
from recipes.pico.export import load
from recipes.pico.feed import END, picture_parts, prompt_start
from recipes.pico.intervals import wilson
from recipes.pico.network import Cache, Network
from recipes.pico.pages import FAMILIES, render
from recipes.pico.questions import WORDINGS

APART = ("json", "transcribe")  # long answers, counted on their own


@torch.inference_mode()
def answer(net: Network, tokenizer: Tokenizer, page: Page, question: str, limit: int = 256) -> str:
    """The greedy answer to one question about one page."""
    tiles, text = picture_parts(page)
    prompt = f"{prompt_start(page, text)}{question}{END}\nAssistant:"
    ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False).ids])
    stop = tokenizer.token_to_id(END)
    length, cache, said = ids.shape[1], Cache(), list[int]()
    mask = torch.full((length, length), -1e9).triu(1)[None, None]
    x = net.embed(ids, net.see(torch.from_numpy(tiles.copy())))
    hidden = net.model.text_model(x, torch.arange(length)[None], mask, cache)
    while len(said) < limit:
        token = int(net.logits(hidden[:, -1]).argmax())
        if token == stop:
            break
        said.append(token)
        x = net.model.text_model.embed_tokens(torch.tensor([[token]]))
        place = torch.tensor([[length + len(said) - 1]])
        hidden = net.model.text_model(x, place, torch.zeros(1, 1, 1, 1), cache)
    return str(tokenizer.decode(said)).removeprefix(" ")


def draw(page: Page, rng: random.Random, kind: str) -> Question | None:
    """The question to ask: a short one, or one of the long kinds."""
    if kind == "transcribe":
        return Question(kind, rng.choice(WORDINGS[kind]), page.transcript) if page.transcript else None
    fitting = [q for q in page.questions if (q.kind == kind if kind == "json" else q.kind not in APART)]
    return rng.choice(fitting) if fitting else None


def measure(
    net: Network,
    tokenizer: Tokenizer,
    family: str,
    pages: int,
    kind: str = "short",
    held_out: bool = True,
    clean: bool = False,
    begin: int = 3_000_000,
) -> list[dict[str, str | bool]]:
    """One asked question per page: kind, question, answer, said, right."""
    found: list[dict[str, str | bool]] = []
    for seed in range(begin, begin + pages):
        page = render(family, seed, held_out, clean)
        question = draw(page, random.Random(seed), kind)
        if question is not None:
            said = answer(net, tokenizer, page, question.text)
            found.append(
                {
                    "kind": question.kind,
                    "layout": page.layout,
                    "question": question.text,
                    "answer": question.answer,
                    "said": said,
                    "right": said == question.answer,
                }
            )
    return found


def summary(found: list[dict[str, str | bool]]) -> dict[str, object]:
    """Right, asked, share, interval, and the same by kind of question."""
    right = sum(bool(f["right"]) for f in found)
    kinds: dict[str, list[bool]] = defaultdict(list)
    for f in found:
        kinds[str(f["kind"])].append(bool(f["right"]))
    low, high = wilson(right, len(found))
    return {
        "right": right,
        "asked": len(found),
        "share": round(right / len(found), 4),
        "interval": [round(low, 4), round(high, 4)],
        "kinds": {k: [sum(v), len(v)] for k, v in sorted(kinds.items())},
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--kind", default="short", choices=("short", *APART))
    parser.add_argument(
        "--seen", action="store_true", help="training faces, names and layouts instead of held-out ones"
    )
    parser.add_argument("--clean", action="store_true", help="no blur, rotation or compression")
    parser.add_argument("--begin", type=int, default=3_000_000, help="number of the first page")
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(1)
    net, tokenizer = load(a.model), Tokenizer.from_file(str(a.model / "tokenizer.json"))
    results = {}
    for family in a.families:
        found = measure(net, tokenizer, family, a.pages, a.kind, not a.seen, a.clean, a.begin)
        if not found:
            continue
        results[family] = summary(found)
        print(family, json.dumps(results[family]), flush=True)
        for f in [f for f in found if not f["right"]][:4]:
            print("   ", f["question"], "|", f["answer"], "|", f["said"], flush=True)
    if a.out:
        a.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
