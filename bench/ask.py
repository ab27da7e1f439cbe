"""Time to first token and tokens per second, beside other engines in the same run.

    python -m bench.ask --sizes 256M,500M,2.2B --precision int8 --runs 3 --json bench/results/ask.json

Weights are random in the published shapes.  All engines get the same picture, tiles and token ids
already prepared, so pictures are not decoded inside the timed part.  Runs are interleaved; medians and
the best are printed.  Peers that cannot be imported are left out with a reason; bench/README.md says how
to install them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

from bench import machine  # noqa: E402
from bench.peers import ENGINES, OURS, Peer, Sample  # noqa: E402
from bench.random_checkpoint import SIZES, make  # noqa: E402

PICTURES = {"256M": (512, 512), "500M": (512, 512), "2.2B": (640, 480)}
"""Pictures (width, height) in pixels that make 17, 17 and 13 tiles."""
_QUESTION = "What is the total?"
_BEST = {"tokens_per_second": max}


class Worker:
    """One engine in a process of its own."""

    def __init__(self, engine: str, python: str, folder: Path, tokens: int, form: str) -> None:
        command = [python, "-m", "bench.peers.worker", ENGINES[engine].module, str(folder), str(tokens), form]
        self._log = folder / f"{engine}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=REPOSITORY
            )
        self.facts = self._read()

    def run(self) -> Sample:
        """Answer once; returns its seconds and rates."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: a worker ended with code {self._process.wait()}; {self._log} says why")
        result: dict[str, Any] = json.loads(line)
        return result

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def taking_part(names: list[str], pythons: dict[str, str], precision: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the form that each engine runs in, and why the others are left out."""
    forms, left_out = {}, {}
    for name in names:
        peer = ENGINES[name]
        if precision not in peer.forms:
            left_out[name] = f"nothing to set beside {precision}"
        elif name != OURS and not _importable(peer, pythons.get(name, sys.executable)):
            left_out[name] = f"{peer.package} cannot be imported ({peer.install})"
        else:
            forms[name] = peer.forms[precision]
    return forms, left_out


def _importable(peer: Peer, python: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({peer.package!r}) is None)"
    return subprocess.run([python, "-c", code], capture_output=True, cwd=REPOSITORY).returncode == 0


def write_prompt(folder: Path, picture: tuple[int, int]) -> None:
    """Write what every engine is asked into `prompt.npz`: picture, question, and both as tiles and ids."""
    from PIL import Image

    from seatrial import vision

    noise = np.random.default_rng(1).integers(0, 255, (picture[1], picture[0], 3), dtype=np.uint8)
    prompt = vision.Processor(folder).question(Image.fromarray(noise), _QUESTION)
    np.savez(folder / "prompt.npz", picture=noise, question=_QUESTION, ids=prompt.ids, tiles=prompt.tiles)


def measure(size: str, folder: Path, forms: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Return medians and bests of all engines for one size, and how much longer than ours the others take."""
    make(size, folder)
    write_prompt(folder, PICTURES[size])
    for name, form in forms.items():
        module = importlib.import_module(f"bench.peers.{ENGINES[name].module}")
        if hasattr(module, "prepare"):
            module.prepare(folder, form)
    workers = {
        name: Worker(name, options.python.get(name, sys.executable), folder, options.tokens, form)
        for name, form in forms.items()
    }
    inputs = {name: (worker.facts["tiles"], worker.facts["prompt_tokens"]) for name, worker in workers.items()}
    if len(set(inputs.values())) > 1:
        raise SystemExit(f"bench: the engines do not look at the same (tiles, tokens): {inputs}")
    samples: dict[str, list[Sample]] = {name: [] for name in forms}
    for run in range(options.runs + 1):  # the first is a warm-up
        for name, worker in workers.items():
            sample = worker.run()
            if run:
                samples[name].append(sample)
    for worker in workers.values():
        worker.close()
    engines = {name: _summary(workers[name].facts, samples[name]) for name in forms}
    ours = engines[OURS]
    for name, engine in engines.items():
        if name != OURS:
            engine["first_token_ratio"] = engine["first_token"]["median"] / ours["first_token"]["median"]
            engine["decode_ratio"] = ours["tokens_per_second"]["median"] / engine["tokens_per_second"]["median"]
    return {"size": size, "precision": options.precision, "engines": engines}


def _summary(facts: dict[str, Any], samples: list[Sample]) -> dict[str, Any]:
    return facts | {
        key: {"median": statistics.median(values), "best": _BEST.get(key, min)(values)}
        for key in samples[0]
        for values in [[sample[key] for sample in samples]]
    }


def print_result(result: dict[str, Any]) -> None:
    """Print one size: a line for each engine, with its ratios to ours."""
    for name, row in result["engines"].items():
        first, rate = row["first_token"], row["tokens_per_second"]
        ratios = ""
        if name != OURS:
            ratios = f", ours {row['first_token_ratio']:.2f}× and {row['decode_ratio']:.2f}× as fast"
        print(
            f"{result['size']:>5} {name:<13} first token {first['median']:7.2f} s (best {first['best']:.2f}),"
            f" {rate['median']:6.1f} tokens/s (best {rate['best']:.1f}), {row['precision']} on"
            f" {row['operations']}{ratios}",
            flush=True,
        )


def parser(about: str) -> argparse.ArgumentParser:
    """Return the options that every measurement beside peers has."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="256M", help=f"comma-separated, of {', '.join(SIZES)}")
    parser.add_argument("--precision", default="bf16", choices=ENGINES[OURS].forms, help="ours; peers take equal bits")
    parser.add_argument("--peers", default=",".join(ENGINES), help=f"comma-separated, of {', '.join(ENGINES)}")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH", help="the Python that has a peer")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "seatrial-bench")
    parser.add_argument("--json", type=Path)
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return what was given."""
    options = parser.parse_args()
    options.python = dict(pair.split("=", 1) for pair in options.python)
    unknown = {*options.peers.split(","), *options.python} - set(ENGINES)
    if unknown:
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    """Parse arguments, measure, print, write JSON."""
    options = parse(parser(__doc__ or ""))
    names = [OURS, *(name for name in options.peers.split(",") if name != OURS)]
    forms, left_out = taking_part(names, options.python, options.precision)
    for name, reason in left_out.items():
        print(f"      {name:<13} left out: {reason}")
    results = []
    for size in options.sizes.split(","):
        results.append(measure(size, options.folder.resolve() / size, forms, options))
        print_result(results[-1])
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        report = {"machine": machine.describe(), "results": results, "left_out": left_out}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
