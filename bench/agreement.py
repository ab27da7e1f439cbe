"""How far answers in fewer bits are from float32: greedy agreement and divergence, on the golden cases.

    python -m bench.agreement --json bench/results/agreement.json

Every golden case (small random checkpoints) and some of the bundled model's held-out pages, where their fonts are
installed: the share of positions at which the likeliest token is that of float32, and the Kullback-Leibler divergence
from it in nats, over the positions of the float32 answer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recipes.pico import fonts, pages
from seatrial import vision
from seatrial.vision import decoder
from seatrial.vision.checkpoint import Model, load_model
from seatrial.vision.engine import Engine
from seatrial.vision.generation import prompt_embeddings
from seatrial.vision.kv import KvCache
from seatrial.vision.ops.protocol import Array
from seatrial.vision.prompt import Prompt
from seatrial.vision.sampling import softmax

PRECISIONS = ("bf16", "int8", "int4")


def scores_along(model: Model, prompt: Prompt, answer: list[int]) -> Array:
    """Return scores [len(answer), vocabulary] before each token of `answer`."""
    x_SC, _ = prompt_embeddings(model, prompt)
    rows = np.concatenate([x_SC, decoder.embed(model.decoder, answer[:-1])])
    cache = KvCache(model.pool)
    hidden = decoder.forward(model.decoder, rows, [(cache, len(rows))], model.ops)
    cache.release()
    return decoder.logits(model.decoder, np.ascontiguousarray(hidden[-len(answer) :]), model.ops)


def compare(exact: Model, other: Model, prompt: Prompt) -> tuple[int, int, float]:
    """Return positions, those with the same likeliest token, and the divergence summed over them."""
    answer = Engine(exact).answer([prompt], vision.Decoding(max_new_tokens=12))[0].tokens
    one, two = (scores_along(model, prompt, answer) for model in (exact, other))
    same = int((one.argmax(axis=1) == two.argmax(axis=1)).sum())
    divergence = 0.0
    for p, q in zip(map(softmax, one.astype(np.float64)), map(softmax, two.astype(np.float64)), strict=True):
        divergence += float(np.sum(p * (np.log(p + 1e-300) - np.log(q + 1e-300))))
    return len(answer), same, divergence


def golden_cases() -> Iterator[tuple[Path, list[Any]]]:
    """Yield the folder of each golden checkpoint and its cases; the folder goes with the next."""
    from tests.golden.cases import all_cases
    from tests.golden.checkpoints import SHAPES, make_checkpoint

    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            cases = [case for case in all_cases() if case.checkpoint == shape.name]
            yield make_checkpoint(shape, Path(folder)), cases


def held_out(model: Model, count: int) -> list[Prompt]:
    """Return prompts about held-out receipts and forms; none where fonts are missing."""
    if fonts.missing():
        return []
    drawn = [pages.render(family, 2_000_000 + n, True) for family in ("receipt", "form") for n in range(count)]
    return [model.processor.question([f.convert("RGB") for f in p.frames], p.questions[0].text) for p in drawn]


def main() -> None:
    """Print a line for each set and precision, write JSON."""
    from tests.golden.compare import prompt_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=25, help="of each kind")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}

    def note(what: str, folder: Path, cases: list[Any]) -> None:
        exact = load_model(folder, "f32")
        for precision in PRECISIONS:
            other = load_model(folder, precision)
            total = found.setdefault(what, {}).setdefault(precision, [0, 0, 0.0])
            for case in cases:
                prompt = case if isinstance(case, Prompt) else prompt_of(case, exact)
                for place, value in enumerate(compare(exact, other, prompt)):
                    total[place] += value

    for folder, cases in golden_cases():
        note("golden cases", folder, cases)
    pico = vision.find_model("pico")
    note("pico, held-out pages", pico, held_out(load_model(pico, "f32"), options.pages))
    report = {
        what: {
            precision: {"positions": n, "agreement": same / n, "kl": kl / n}
            for precision, (n, same, kl) in rows.items()
            if n
        }
        for what, rows in found.items()
    }
    for what, rows in report.items():
        for precision, row in rows.items():
            print(
                f"{what:<22} {precision:<5} {row['positions']:>5.0f} positions: the same token in"
                f" {row['agreement']:.1%}, divergence {row['kl']:.2e} nats"
            )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
