"""How fast logs are read, in how much memory, and whether the totals are right; beside ccusage in the same run.

    npm install --prefix build/ccusage ccusage@20.0.24 @ccusage/ccusage-linux-x64@20.0.24
    npm install --prefix build/ccusage-18 ccusage@18.0.5
    python -m bench.canary_reading --logs LOGS --runs 7 --gigabytes 1 --json bench/results/canary_reading.json

Each is a process of one thread on one CPU, with an empty home; they take turns, after a turn that is not counted.
Seconds are of the CPU, the process's own and the kernel's for it, from its start to its end; `MB` is 10⁶ bytes of log.
The jobs are not equal: ccusage takes tokens from the lines that have some, `seatrial` every event of the session.
`--gigabytes` repeats the logs under new ids in a temporary folder and measures once more, to show that memory does not
grow.  Without `--logs` the sample beside the repository is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

from bench.agents_start import summary, table  # noqa: E402
from bench.canary_totals import COUNTS  # noqa: E402

SAMPLE = REPOSITORY.parent / "shared" / "data" / "canary" / "claude_code.tar.xz"
_NATIVE = "node_modules/@ccusage/ccusage-linux-x64/bin/ccusage"
_SCRIPT = "node_modules/ccusage/dist/index.js"
_SPARE = 1.2
Models = dict[str, list[int]]


@dataclass(frozen=True)
class Reader:
    """A command that reads all logs under `CLAUDE_CONFIG_DIR` of its environment."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Turn:
    """What one process took: CPU seconds, peak of its resident memory in MB (10⁶ bytes), what it printed."""

    seconds: float
    memory: float
    printed: Any


def readers(native: Path, script: Path, projects: Path) -> list[Reader]:
    """Return ours and those that are installed; says on standard error which are not."""
    found = [Reader("seatrial", (sys.executable, "-m", "bench.canary_totals", str(projects)))]
    if (native / _NATIVE).exists():
        (native / _NATIVE).chmod(0o755)  # npm leaves that to a script of the package
        words = ("claude", "daily", "--json", "--offline", "--single-thread")
        found.append(Reader(f"ccusage {_version(native)}", (str(native / _NATIVE), *words)))
    node = shutil.which("node")
    if node and (script / _SCRIPT).exists():
        found.append(
            Reader(f"ccusage {_version(script)}", (node, str(script / _SCRIPT), "daily", "--json", "--offline"))
        )
    if len(found) < 3:
        sys.stderr.write(f"measured are only: {', '.join(reader.name for reader in found)}\n")
    return found


def _version(folder: Path) -> str:
    version: str = json.loads((folder / "node_modules/ccusage/package.json").read_text())["version"]
    return version


def run(reader: Reader, home: Path) -> Turn:
    """Run a reader once, with `home` as its empty home and the folder of its logs in `home/config/projects`."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / "config"),
        "RAYON_NUM_THREADS": "1",
        "TZ": "UTC",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")]),
    }
    used = home / "used.json"
    starter = [sys.executable, "-I", "-S", str(REPOSITORY / "bench" / "process_use.py"), str(used)]
    done = subprocess.run([*starter, *reader.command], capture_output=True, stdin=subprocess.DEVNULL, env=environment)
    if done.returncode:
        raise SystemExit(f"{reader.name} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    facts = json.loads(used.read_text())
    return Turn(facts["seconds"], facts["memory"] / 1e6, json.loads(done.stdout))


def take_turns(contenders: Sequence[Reader], home: Path, runs: int) -> dict[str, list[Turn]]:
    """Return the turns of each reader; the first, which fills the cache of files, is left out."""
    seen: dict[str, list[Turn]] = {reader.name: [] for reader in contenders}
    for number in range(runs + 1):
        for reader in contenders:
            turn = run(reader, home)
            if number:
                seen[reader.name].append(turn)
                sys.stderr.write(f"{reader.name}: {turn.seconds:.2f} s, {turn.memory:.0f} MB\n")
    return seen


def speeds(seen: dict[str, list[Turn]], size: int) -> dict[str, Any]:
    """Return CPU seconds, MB per CPU second, memory, and how often our speed each other one's is, turn by turn."""
    ours = [turn.seconds for turn in seen["seatrial"]]
    found: dict[str, Any] = {}
    for name, turns in seen.items():
        took = [turn.seconds for turn in turns]
        found[name] = {
            "cpu, s": summary(took, 3),
            "MB per cpu second": round(size / 1e6 / min(took), 1),
            "peak memory, MB": round(max(turn.memory for turn in turns), 1),
            "its cpu time / ours": {
                "best of each": round(min(took) / min(ours), 3),
                **summary([theirs / our for theirs, our in zip(took, ours, strict=True)], 3),
            },
        }
    return found


def independent(folder: Path) -> dict[str, Models]:
    """Count tokens by model with a dictionary and nothing else: per message and request the largest of each count."""
    largest: dict[str, dict[tuple[str, str, str], list[int]]] = {"own": {}, "nested": {}}
    models: dict[tuple[str, str, str], str] = {}
    for file in sorted(folder.rglob("*.jsonl")):
        with file.open(encoding="utf-8", errors="replace", newline="\n") as stream:
            for line in stream:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                kind = "nested" if entry.get("isSidechain") else "own"
                if entry.get("type") == "progress":
                    kind, entry = "nested", (entry.get("data") or {}).get("message") or {}
                if entry.get("type") != "assistant":
                    continue
                message, usage = entry["message"], entry["message"]["usage"]
                key = (str(file), message["id"], entry.get("requestId") or "")
                keys = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
                counts = [usage.get(name) or 0 for name in keys]
                models[key] = message["model"]
                largest[kind][key] = [max(pair) for pair in zip(counts, largest[kind].get(key, [0] * 4), strict=True)]
    sums: dict[str, Models] = {"own": {}, "nested": {}}
    for kind, messages in largest.items():
        for key, counts in messages.items():
            sums[kind] = added(sums[kind], {models[key]: counts})
    return sums


def added(*parts: Models) -> Models:
    """Return the sum of counts by model; models without tokens are left out."""
    sums: Models = {}
    for part in parts:
        for model, counts in part.items():
            sums[model] = [a + b for a, b in zip(sums.get(model, [0] * len(COUNTS)), counts, strict=True)]
    return {model: counts for model, counts in sorted(sums.items()) if any(counts)}


def of_ccusage(printed: dict[str, Any]) -> Models:
    """Return the counts by model of a daily report of ccusage."""
    keys = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheCreationTokens")
    days = [
        {part["modelName"]: [part[key] for key in keys]} for day in printed["daily"] for part in day["modelBreakdowns"]
    ]
    return added(*days)


def compare_totals(seen: dict[str, list[Turn]], folder: Path) -> dict[str, Any]:
    """Return what each counted, and which of them agree in every count of every model."""
    ours = seen["seatrial"][0].printed
    plain = independent(folder)
    counted = {
        "seatrial, sessions": added(ours["own"]),
        "seatrial, with sub-agents in the same files": added(ours["own"], ours["nested"]),
        "seatrial, first lines": added(ours["first"]),
        "plain count, sessions": plain["own"],
        "plain count, with sub-agents in the same files": added(plain["own"], plain["nested"]),
    }
    counted |= {name: of_ccusage(turns[0].printed) for name, turns in seen.items() if name != "seatrial"}
    names = list(counted)
    equal = [[a, b] for place, a in enumerate(names) for b in names[place + 1 :] if counted[a] == counted[b]]
    return {"counts": list(COUNTS), "by model": counted, "equal": equal}


def _as_text(tokens: dict[str, Any]) -> str:
    lines = [f"{'':16}" + "".join(f"{name:>14}" for name in tokens["counts"]) + "   tokens"]
    for who, models in tokens["by model"].items():
        sums = [sum(counts) for counts in zip(*models.values(), strict=True)]
        lines.append(f"{who}\n{'all models':>16}" + "".join(f"{value:14,}" for value in sums))
    lines += [f"equal in every count of every model: {' = '.join(pair)}" for pair in tokens["equal"]]
    return "\n".join(lines) + "\n"


def repeat(folder: Path, into: Path, size: float) -> int:
    """Write the sessions of `folder` under new ids again and again, until there are `size` bytes; return how many."""
    files = sorted(folder.rglob("*.jsonl"))
    written = copy = 0
    while written < size:
        (into / str(copy)).mkdir(parents=True)
        mark = f"{copy:04d}"
        for file in files:
            name = f"{mark}{file.stem[4:]}"
            with file.open("rb") as lines, (into / str(copy) / f"{name}.jsonl").open("wb") as target:
                for line in lines:
                    for kind in (b"msg_", b"req_", b"toolu_"):
                        line = line.replace(b'"' + kind, b'"' + kind + mark.encode())
                    written += target.write(line.replace(file.stem.encode(), name.encode()))
            if written >= size:
                break
        copy += 1
    return written


@contextmanager
def place_of(logs: Path) -> Iterator[Path]:
    """Give an empty home whose agent's folder of logs is `logs`."""
    with tempfile.TemporaryDirectory(prefix="seatrial-bench-") as name:
        home = Path(name)
        (home / "config").mkdir()
        (home / "config" / "projects").symlink_to(logs.resolve())
        yield home


def measure(logs: Path, options: argparse.Namespace, runs: int) -> tuple[dict[str, list[Turn]], dict[str, Any]]:
    """Take turns over the logs of a folder; return the turns and the speeds."""
    with place_of(logs) as home:
        contenders = readers(options.ccusage, options.ccusage_js, home / "config" / "projects")
        seen = take_turns(contenders, home, runs)
    size = seen["seatrial"][0].printed["bytes"]
    facts = {"MB": round(size / 1e6, 1), "files": len(list(logs.rglob("*.jsonl"))), **speeds(seen, size)}
    rows = {name: facts[name]["cpu, s"] for name in seen}
    sys.stdout.write(f"{facts['MB']} MB in {facts['files']} files\n" + table(rows, "cpu s", 3))
    for name in seen:
        sys.stdout.write(
            f"{name}: {facts[name]['MB per cpu second']} MB per cpu second, peak {facts[name]['peak memory, MB']} MB, "
            f"its cpu time / ours {facts[name]['its cpu time / ours']}\n"
        )
    return seen, facts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--logs", type=Path, help="a folder of logs of Claude Code")
    parser.add_argument("--ccusage", type=Path, default=REPOSITORY / "build" / "ccusage")
    parser.add_argument("--ccusage-js", type=Path, default=REPOSITORY / "build" / "ccusage-18")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--gigabytes", type=float, default=0, help="how much to make by repeating the logs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.logs is None and not SAMPLE.exists():
        parser.error("the sample is not there: name a folder with --logs")
    from bench import machine

    found: dict[str, Any] = {"machine": machine.describe(), "runs": options.runs}
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="seatrial-bench-") as name:
        logs = options.logs or Path(name, "sample")
        if options.logs is None:
            with tarfile.open(SAMPLE) as archive:
                archive.extractall(logs, filter="data")
        seen, found["logs"] = measure(logs, options, options.runs)
        found["tokens"] = compare_totals(seen, logs)
        sys.stdout.write(_as_text(found["tokens"]))
        size = options.gigabytes * 1e9
        if shutil.disk_usage(name).free < size * _SPARE:
            parser.error(f"{name} has no room for {options.gigabytes} GB")
        if size:
            repeat(logs, Path(name, "many"), size)
            found["repeated"] = measure(Path(name, "many"), options, min(options.runs, 3))[1]
    if options.json:
        options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
