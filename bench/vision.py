"""The vision engine's numbers in one table: speed beside peers, ceilings of the machine, serving, memory, opening.

    python -m bench.vision --sizes 256M,2.2B --json bench/results/vision.json
    python -m bench.vision --python transformers=peers/transformers/bin/python …

Options of bench.ask say which peers take part.  Everything is measured in this run, one thing at a time; run it
on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import ask, machine
from bench.peers import OURS
from bench.random_checkpoint import SIZES, make

TOWER_TFLOP = {"256M": 0.2136, "500M": 0.2136, "2.2B": 0.6663}
"""Of one tile: 2·layers·(4·C² + 2·C·MLP)·P + 4·layers·P²·C + 6·patch²·C·P."""
WEIGHTS_PER_TOKEN = {"256M": 134.6e6, "500M": 361.9e6, "2.2B": 1711.6e6}
"""Matrix elements that one decoded token reads: text layers and head."""
POSITION_VALUES = {"256M": 11520, "500M": 20480, "2.2B": 98304}
"""Numbers in the keys and values of one position."""
BITS = {"bf16": 16, "int8": 8, "int4": 4.25}
QUESTIONS = 12


@dataclass(frozen=True)
class Row:
    """One figure and what it must reach (None: nothing is asked)."""

    what: str
    value: float
    unit: str
    must: float | None = None
    smaller_is_better: bool = False

    def __str__(self) -> str:
        verdict = ""
        if self.must is not None:
            reached = self.value <= self.must if self.smaller_is_better else self.value >= self.must
            verdict = f"  {'≤' if self.smaller_is_better else '≥'} {self.must:g}: {'reached' if reached else 'missed'}"
        return f"{self.what:<58} {self.value:9.3g} {self.unit:<9}{verdict}"


def speed_rows(size: str, precision: str, result: dict[str, Any], peak: dict[str, Any]) -> list[Row]:
    """Rows of one run of bench.ask: ours, shares of the ceilings, ratios to peers."""
    ours = result["engines"][OURS]
    first, rate = ours["first_token"]["median"], ours["tokens_per_second"]["median"]
    name = f"{size} {precision}"
    rows = [Row(f"{name}: first token", first, "s"), Row(f"{name}: decoding", rate, "tokens/s")]
    tower = TOWER_TFLOP[size] * ours["tiles"] / ours["vision"]["median"] * 1e3
    if peak:
        ceiling = peak["bf16" if precision == "bf16" else "int8"]
        asked = 45 if (size, precision) == ("256M", "bf16") else None
        rows.append(Row(f"{name}: tower's share of the {peak['unit']} peak", 100 * tower / ceiling, "%", asked))
        lm_head = SIZES[size]["text"]["hidden_size"] * 49280
        text_bytes = (WEIGHTS_PER_TOKEN[size] - lm_head) * BITS[precision] / 8 + lm_head * max(BITS[precision], 8) / 8
        cache = POSITION_VALUES[size] * 2 * ours["prompt_tokens"]
        floor = (text_bytes + cache) / (peak["read"] * 1e9)
        asked = 65 if (size, precision) in (("256M", "int8"), ("2.2B", "int8"), ("2.2B", "int4")) else None
        rows.append(Row(f"{name}: decoding's share of memory bandwidth", 100 * floor * rate, "%", asked))
    musts = {("256M", "bf16"): 3.5, ("256M", "int8"): 5.0, ("2.2B", "bf16"): 4.0}
    for peer, engine in result["engines"].items():
        if peer != OURS:
            must = musts.get((size, precision)) if peer == "transformers" else 1.0
            against = f"{name}: as fast as {peer} ({engine['precision']})"
            rows.append(Row(f"{against}, first token", engine["first_token_ratio"], "×", must))
            rows.append(Row(f"{against}, decoding", engine["decode_ratio"], "×", None if must != 1.0 else 1.0))
    return rows


def run_worker(task: str, folder: Path, precision: str) -> dict[str, float]:
    """Run `task` (serve, open) in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "bench.vision",
        "--worker",
        task,
        "--folder",
        str(folder),
        "--precision",
        precision,
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ask.REPOSITORY)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def serve(folder: Path, precision: str) -> dict[str, float]:
    """Ask one question, a second about the same page, then twelve at once."""
    import numpy as np
    from PIL import Image

    from seatrial import vision

    with np.load(folder / "prompt.npz") as saved:
        page = Image.fromarray(saved["picture"])
    engine = vision.open(folder, precision=precision, features=vision.FeatureCache(memory_limit=2**28, disk_limit=0))
    decoding = vision.Decoding(max_new_tokens=33, speculate=False)
    first = engine.ask(page, "What is the total?", decoding=decoding).timings
    second = [engine.ask(page, f"What is the date, {n}?", decoding=decoding).timings for n in range(5)]
    questions = [f"Question {n}: what does field {n} say?" for n in range(QUESTIONS)]
    engine.ask_many(page, questions, decoding=decoding)  # their own words are read once, as those of one were
    many = [max(r.timings.decode for r in engine.ask_many(page, questions, decoding=decoding)) for _ in range(3)]
    return {
        "first": first.first_token,
        "second": sorted(timings.first_token for timings in second)[2],
        "decode_one": min(timings.decode for timings in second),
        "decode_many": min(many),
    }


def open_once(folder: Path, precision: str) -> dict[str, float]:
    """Open the model, packed before, and answer; returns seconds to open and the most memory ever held, in MB."""
    import time

    import numpy as np
    from PIL import Image

    from seatrial import vision

    with np.load(folder / "prompt.npz") as saved:
        page = Image.fromarray(saved["picture"])
    began = time.perf_counter()
    engine = vision.open(folder, precision=precision)
    opened = time.perf_counter() - began
    engine.ask(page, "What is the total?", decoding=vision.Decoding(max_new_tokens=16))
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"open": opened, "memory": int(held.split()[1]) * 1024 / 1e6}


def serving_rows(size: str, folder: Path) -> list[Row]:
    """Second question, twelve questions, opening and memory of one size."""
    precision = "int4" if size == "2.2B" else "int8"
    served = run_worker("serve", folder, precision)
    run_worker("open", folder, precision)  # packs, where that was not done
    opened = run_worker("open", folder, precision)
    name = f"{size} {precision}"
    share = 100 * served["second"] / served["first"]
    many = served["decode_many"] / served["decode_one"]
    less = {"smaller_is_better": True}
    return [
        Row(f"{name}: second question's first token, of the first's", share, "%", 8, **less),
        Row(f"{name}: {QUESTIONS} questions decode in, of one's time", many, "×", 2.5, **less),
        Row(f"{name}: opening", opened["open"], "s", 1.0 if size == "2.2B" else 0.3, **less),
        Row(f"{name}: peak memory", opened["memory"], "MB", 2000 if size == "2.2B" else 600, **less),
    ]


def measure_size(size: str, options: argparse.Namespace, peak: dict[str, Any]) -> list[Row]:
    """Print and return all rows of one size."""
    folder = options.folder.resolve() / size
    make(size, folder)
    ask.write_prompt(folder, ask.PICTURES[size])
    rows: list[Row] = []
    for precision in options.precisions.split(","):
        options.precision = precision
        names = [OURS, *(name for name in options.peers.split(",") if name != OURS)]
        forms, left_out = ask.taking_part(names, options.python, precision)
        for name, reason in left_out.items():
            print(f"{size} {precision}: {name} is left out: {reason}", flush=True)
        result = ask.measure(size, folder, forms, options)
        rows += show(speed_rows(size, precision, result, peak))
    return rows + show(serving_rows(size, folder))


def show(rows: list[Row]) -> list[Row]:
    """Print `rows` and return them."""
    print(*rows, sep="\n", flush=True)
    return rows


def main() -> None:
    """Measure, print the table, write JSON."""
    parser = ask.parser(__doc__ or "")
    parser.add_argument("--precisions", default="bf16,int8,int4", help="of ours, comma-separated")
    parser.add_argument("--worker", choices=["serve", "open"], help=argparse.SUPPRESS)
    options = ask.parse(parser)
    if options.worker:
        print(json.dumps({"serve": serve, "open": open_once}[options.worker](options.folder, options.precision)))
        return
    peak = machine.measure_peak()
    report: dict[str, Any] = {"machine": machine.describe(), "peak": peak, "rows": []}
    print(report["machine"], peak, sep="\n")
    for size in options.sizes.split(","):
        report["rows"] += [asdict(row) for row in measure_size(size, options, peak)]
        if options.json:  # what was measured is kept if a later size fails
            options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
