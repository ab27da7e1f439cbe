"""How long an agent takes to start: its sandbox alone, and everything from the call to the running program.

    python -m bench.agents_start --runs 20 --json bench/results/agents_start.json

All runtimes that work here take turns in the same run, so that a slow minute of the machine is shared.  `sandbox`: from
the plan to the first output of its command, in a terminal, through prepare, await_ready and release, less a plain
process in a terminal.  `whole`: from `agents.start` of a small repository until the program has begun (it writes down
when) and until the call returns, which watches a moment longer for a program that ends at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

_WORD = b"ran"
_BEGAN = "date +%s.%N > /home/agent/began; exec sleep 1000"


def working_runtimes(names: Sequence[str]) -> dict[str, Any]:
    """Return the runtimes of `names` that work here; says on standard error which do not, and why."""
    from seatrial.agents.runtime import open_runtime

    found = {}
    for name in names:
        runtime = open_runtime(name)
        first = runtime.check()[0]
        if first.ok:
            found[name] = runtime
        else:
            sys.stderr.write(f"{name} is left out: {first.finding}\n")
    return found


def _until_word(command: Sequence[str], after: Any = None) -> float:
    """Run `command` in a terminal and return when (perf_counter) it has said its word; `after` is called meanwhile."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    if after:
        after()
    said = b""
    with contextlib.suppress(OSError):
        while _WORD not in said and (piece := os.read(ours, 4096)):
            said += piece
    when = time.perf_counter()
    os.close(ours)
    process.wait()
    if _WORD not in said:
        raise SystemExit(f"the sandbox did not start: {said.decode(errors='replace')}")
    return when


def _plan(folder: Path) -> Any:
    from seatrial.agents.policy import Policy
    from seatrial.agents.runtime import Mount, SandboxPlan

    owner = 61184 if os.geteuid() == 0 else None
    places = {"home": "/home/agent", "workspace": "/workspace"}
    for name in places:
        (folder / name).mkdir()
        if owner:
            os.chown(folder / name, owner, owner)
    return SandboxPlan(
        identity=f"bench-{os.getpid()}",
        hostname="bench",
        folder=folder / "launch",
        policy=Policy(),
        mounts=tuple(Mount(folder / name, target, "write") for name, target in places.items()),
        environment={"PATH": "/usr/bin:/bin", "HOME": "/home/agent"},
        command=("/bin/echo", _WORD.decode()),
        owner=owner,
    )


def _sandbox(runtime: Any, plan: Any) -> float:
    """Milliseconds from the plan to the first output."""
    begin = time.perf_counter()

    def begin_command() -> None:
        runtime.await_ready(plan, 60, lambda: None)
        runtime.release(plan)

    when = _until_word(runtime.prepare(plan), begin_command)
    runtime.kill(plan)
    runtime.remove(plan)
    return (when - begin) * 1000


def _plain() -> float:
    begin = time.perf_counter()
    return (_until_word(("/bin/echo", _WORD.decode())) - begin) * 1000


@contextlib.contextmanager
def small_project() -> Iterator[Any]:
    """Give an open project of a small repository, with a home of its own."""
    from seatrial import agents
    from seatrial.errors import SeatrialError

    with tempfile.TemporaryDirectory(prefix="seatrial-bench-") as base:
        os.environ["SEATRIAL_HOME"] = f"{base}/home"
        root = Path(base, "repository")
        root.mkdir()
        for number in range(100):
            (root / f"file{number}.py").write_text(f"print({number})\n" * 50)
        who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
        for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-qm", "begin"]):
            subprocess.run(["git", *words], cwd=root, check=True)
        project = agents.find_project(root)
        try:
            yield project
        finally:
            for agent in project.records.agents():
                with contextlib.suppress(SeatrialError):
                    agents.delete(project, agent.name, discard=True)


def _whole(project: Any, runtime: str, number: int) -> tuple[float, float]:
    """Milliseconds until the program has begun, and until the call has returned."""
    from seatrial import agents

    name = f"{runtime}-{number}"
    begin = time.time()
    arguments = ("/bin/sh", "-c", _BEGAN)
    agents.start(project, name, agents.Choices(harness="generic", runtime=runtime, arguments=arguments))
    returned = time.time()
    began = float((project.agent(name).home / "began").read_text())
    agents.delete(project, name, discard=True)
    return (began - begin) * 1000, (returned - begin) * 1000


def _measure(names: Sequence[str], runs: int) -> dict[str, Any]:
    runtimes = working_runtimes(names)
    seen: dict[str, list[float]] = {"plain process": []}
    with small_project() as project:
        for number in range(runs + 1):  # the first is a warm-up
            row: dict[str, float] = {"plain process": _plain()}
            for name, runtime in runtimes.items():
                with tempfile.TemporaryDirectory() as folder:
                    Path(folder).chmod(0o755)
                    row[f"sandbox, {name}"] = _sandbox(runtime, _plan(Path(folder))) - row["plain process"]
                began, returned = _whole(project, name, number)
                row |= {f"whole, {name}: begun": began, f"whole, {name}: returned": returned}
            for key, value in row.items() if number else ():
                seen.setdefault(key, []).append(value)
    return {key: summary(values) for key, values in seen.items()}


def summary(values: list[float], digits: int = 1) -> dict[str, float]:
    """Return least, median and greatest."""
    found = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def table(rows: dict[str, dict[str, float]], unit: str, digits: int = 1) -> str:
    """Return rows of numbers as text."""
    width = max(map(len, rows))
    head = next(iter(rows.values()))
    lines = [f"{'':{width}}  " + "".join(f"{name:>10}" for name in head) + f"   {unit}"]
    lines += [
        f"{name:{width}}  " + "".join(f"{value:10.{digits}f}" for value in row.values()) for name, row in rows.items()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--runtimes", default="bubblewrap,podman,docker")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if shutil.which("tmux") is None:
        parser.error("tmux is not installed")
    from bench import machine

    rows = _measure(options.runtimes.split(","), options.runs)
    sys.stdout.write(table(rows, "ms"))
    if options.json:
        found = {"machine": machine.describe(), "runs": options.runs, "milliseconds": rows}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
