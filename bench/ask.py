"""Time to first token and tokens per second beside transformers in bfloat16, in the same run.

    python -m bench.ask --sizes 256M,500M,2.2B --runs 3 --json bench/results/ask.json

Weights are random in the published shapes.  Both engines get the same tiles and token ids, already
prepared, so pictures are not decoded inside the timed part.  Runs are interleaved; medians and the
best are printed.  transformers takes part when it can be imported.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

from bench.random_checkpoint import SIZES, make  # noqa: E402

PICTURES = {"256M": (512, 512), "500M": (512, 512), "2.2B": (640, 480)}
"""Pictures (width, height) in pixels that make 17, 17 and 13 tiles."""


def seatrial_worker(folder: str, tokens: int, precision: str) -> None:
    """Answer one prompt for each line read, printing seconds as JSON."""
    from PIL import Image

    from seatrial import vision

    size = tuple(json.loads(sys.stdin.readline()))
    nothing = vision.FeatureCache(memory_limit=0, disk_limit=0)
    engine = vision.open(folder, precision=precision, features=nothing, prefixes=vision.PrefixCache(0))
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    prompt = engine.model.processor.question(Image.fromarray(noise), "What is the total?")
    np.savez(Path(folder) / "prompt.npz", ids=prompt.ids, tiles=prompt.tiles)
    facts = {"load": engine.model.load_seconds, "tiles": len(prompt.tiles), "prompt_tokens": len(prompt.ids),
             "precision": engine.model.precision, "operations": engine.model.ops.instruction_set}  # fmt: skip
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        reply = engine.answer([prompt], vision.Decoding(max_new_tokens=tokens))[0]
        times = reply.timings
        print(json.dumps({"first_token": times.first_token, "vision": times.vision, "prefill": times.prefill,
                          "tokens_per_second": times.decode_tokens_per_second}), flush=True)  # fmt: skip


def transformers_worker(folder: str, tokens: int, precision: str) -> None:
    """The same through transformers, greedy, with its key/value cache."""
    import torch
    from transformers import AutoModelForImageTextToText

    sys.stdin.readline()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    began = time.perf_counter()
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16).eval()
    load = time.perf_counter() - began
    saved = np.load(Path(folder) / "prompt.npz")
    pixels = torch.tensor((saved["tiles"].astype(np.float32) / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)[None]
    inputs = {
        "input_ids": torch.tensor(saved["ids"])[None],
        "attention_mask": torch.ones(1, len(saved["ids"]), dtype=torch.long),
        "pixel_values": pixels.to(torch.bfloat16),
    }
    print(
        json.dumps({"load": load, "precision": "bf16", "operations": f"torch {torch.__version__}"}),
        flush=True,
    )
    for _ in sys.stdin:
        stamps = _Stamps()
        began = time.perf_counter()
        with torch.no_grad():
            model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                streamer=stamps,
                pad_token_id=0,
            )
        made = stamps.times[1:]  # the first call carries the prompt
        rate = (len(made) - 1) / (made[-1] - made[0])
        print(json.dumps({"first_token": made[0] - began, "tokens_per_second": rate}), flush=True)


class _Stamps:
    """Notes when each token arrives (transformers' streamer protocol)."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _value: Any) -> None:
        """Note one arrival."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing to close."""


class Worker:
    """One engine in a process of its own."""

    def __init__(self, name: str, folder: Path, tokens: int, picture: tuple[int, int], precision: str) -> None:
        command = [sys.executable, "-m", "bench.ask", "--worker", name, "--folder", str(folder),
                   "--tokens", str(tokens), "--precision", precision]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        self.facts = self._exchange(json.dumps(picture))

    def run(self) -> dict[str, float]:
        """Answer once; returns its seconds and rates."""
        return self._exchange("go")

    def _exchange(self, line: str) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"bench: a worker ended with code {self._process.wait()}")
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def measure(size: str, folder: Path, runs: int, tokens: int, precision: str) -> dict[str, Any]:
    """Return medians and bests of both engines for one size, and their ratios."""
    make(size, folder)
    names = ["seatrial"] + (["transformers"] if importlib.util.find_spec("transformers") else [])
    workers: dict[str, Worker] = {}
    for name in names:  # one after another: the second reads the prompt that the first wrote
        workers[name] = Worker(name, folder, tokens, PICTURES[size], precision)
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for run in range(runs + 1):  # the first is a warm-up
        for name, worker in workers.items():
            sample = worker.run()
            if run:
                samples[name].append(sample)
    for worker in workers.values():
        worker.close()
    result: dict[str, Any] = {
        "size": size,
        **{name: _summary(workers[name].facts, samples[name]) for name in names},
    }
    if "transformers" in names:
        ours, theirs = result["seatrial"], result["transformers"]
        result["first_token_ratio"] = theirs["first_token"]["median"] / ours["first_token"]["median"]
        result["decode_ratio"] = ours["tokens_per_second"]["median"] / theirs["tokens_per_second"]["median"]
    return result


def _summary(facts: dict[str, Any], samples: list[dict[str, float]]) -> dict[str, Any]:
    best = {"tokens_per_second": max}
    return facts | {
        key: {"median": statistics.median(values), "best": best.get(key, min)(values)}
        for key in samples[0]
        for values in [[sample[key] for sample in samples]]
    }


def print_result(result: dict[str, Any]) -> None:
    """Print one size: a line for each engine, then the ratios."""
    for name in ("seatrial", "transformers"):
        if name in result:
            row, first, rate = result[name], result[name]["first_token"], result[name]["tokens_per_second"]
            print(
                f"{result['size']:>5} {name:<13} first token {first['median']:7.2f} s (best {first['best']:.2f}),"
                f" {rate['median']:6.1f} tokens/s (best {rate['best']:.1f}), {row['precision']} on {row['operations']}"
            )
    if "first_token_ratio" in result:
        ratios = f"first token {result['first_token_ratio']:.2f}×, decoding {result['decode_ratio']:.2f}×"
        print(f"{result['size']:>5} ratio         {ratios}", flush=True)


def main() -> None:
    """Parse arguments, measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="256M", help=f"comma-separated, of {', '.join(SIZES)}")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "seatrial-bench")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", choices=["seatrial", "transformers"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work = {"seatrial": seatrial_worker, "transformers": transformers_worker}[options.worker]
        work(str(options.folder), options.tokens, options.precision)
        return
    results = []
    for size in options.sizes.split(","):
        result = measure(size, options.folder.resolve() / size, options.runs, options.tokens, options.precision)
        results.append(result)
        print_result(result)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        machine = {"cpu": platform.processor() or platform.machine(), "threads": len(os.sched_getaffinity(0)),
                   "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d")}  # fmt: skip
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
