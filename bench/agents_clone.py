"""How long an agent's private clone of a large repository takes, beside what git itself offers.

    python -m bench.agents_clone --runs 5 --json bench/results/agents_clone.json

The repository has 50,000 files and 1 GB in its tree and history together; it is made in a temporary folder, or once in
the folder given by `--repository`.  `first agent` checks the commit out once for all agents; `later agents` start from
that, `--runs` of them.  `agent made` is the whole of `agents.create` of a later one, without its start.  The kernel's
cache of files is as the runs leave it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

from bench.agents_start import summary, table  # noqa: E402

_FILES, _BYTES, _FOLDERS = 50_000, 10_000, 500


def make_repository(folder: Path) -> None:
    """Write the repository: half of each file cannot be compressed."""
    chance = random.Random(7)
    folder.mkdir(parents=True)
    for number in range(_FILES):
        place = folder / f"folder{number % _FOLDERS}"
        place.mkdir(exist_ok=True)
        noise = chance.randbytes(_BYTES // 4).hex()
        (place / f"file{number}.txt").write_text(noise + "words and more words\n" * (_BYTES // 2 // 21))
    who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-qm", "begin"], ["repack", "-adq"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


def _seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _git(*words: str) -> float:
    return _seconds(lambda: subprocess.run(["git", *words], check=True, capture_output=True))


def _measure(repository: Path, runs: int) -> dict[str, dict[str, float]]:
    from seatrial import agents
    from seatrial.agents.git.workspace import create_workspace, release_base

    seen: dict[str, list[float]] = {}

    def note(key: str, seconds: float) -> None:
        seen.setdefault(key, []).append(seconds)
        sys.stderr.write(f"{key}: {seconds:.3f} s\n")

    with tempfile.TemporaryDirectory(prefix="seatrial-bench-", dir=repository.parent) as base:
        os.environ["SEATRIAL_HOME"] = f"{base}/home"
        project = agents.find_project(repository)
        choices = agents.Choices(harness="generic", arguments=("true",))
        options: dict[str, Any] = {"base": None, "owner": project.owner, "objects_inside": "/run/seatrial/objects"}
        cache = project.folder / "base"  # where agents of this project look, too
        for run in range(runs + 1):
            name, target = f"bench-{run}", Path(base, "clone")
            made = partial(create_workspace, repository, target, name=name, cache=cache, **options)
            note("clone, later agents" if run else "clone, first agent", _seconds(made))
            release_base(project_source(repository), name)
            shutil.rmtree(target)
        for _ in range(runs):
            note("agent made", _seconds(partial(agents.create, project, "one", choices)))
            agents.delete(project, "one", discard=True)
        note("git clone --shared", _git("clone", "-q", "--shared", str(repository), f"{base}/shared"))
        note("git worktree add", _git("-C", str(repository), "worktree", "add", "--detach", f"{base}/tree"))
        _git("-C", str(repository), "worktree", "remove", "--force", f"{base}/tree")
    return {key: summary(values, 3) for key, values in seen.items()}


def project_source(repository: Path) -> Any:
    """Return the repository as the area's own functions take it."""
    from seatrial.agents.git.source import find_source

    return find_source(repository)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repository", type=Path, help="made there if it does not exist")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from bench import machine

    with tempfile.TemporaryDirectory(prefix="seatrial-big-") as folder:
        repository = options.repository or Path(folder, "repository")
        if not repository.exists():
            make_repository(repository)
        rows = _measure(repository.resolve(), options.runs)
    sys.stdout.write(table(rows, "s", 3))
    if options.json:
        found = {"machine": machine.describe(), "runs": options.runs, "seconds": rows}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
