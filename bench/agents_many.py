"""What fifty agents at once cost beside their programs, and how soon a message reaches an idle one.

    python -m bench.agents_many --agents 50 --messages 50 --json bench/results/agents_many.json

Each runs `sleep` through the generic harness.  Memory is the proportional share (PSS: pages that processes share are
divided among them) of all that was started for the agents but `sleep` itself, divided by the number of agents.
Messages go to an idle agent of the mini harness, whose model is a script; `delivered` is from `agents.send` until the
message is written down as put before it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

from bench.agents_start import small_project, summary, table  # noqa: E402

_PROGRAM = "sleep"


def _processes() -> dict[int, str]:
    """Return all processes and what they are: the module of a Python program, else the program's name."""
    found = {}
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit():
                words = (place / "cmdline").read_bytes().split(b"\0")
                module = words[2].decode() if words[1:2] == [b"-m"] else ""
                found[int(place.name)] = module or (place / "comm").read_text().strip()
    return found


def _memory(pid: int) -> float:
    """MiB of proportional share; 0 when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _measure_memory(project: Any, count: int) -> dict[str, Any]:
    from seatrial import agents

    before = _processes()
    begin = time.perf_counter()
    for number in range(count):
        agents.start(project, f"many-{number}", agents.Choices(harness="generic", arguments=(_PROGRAM, "1000")))
    seconds = time.perf_counter() - begin
    time.sleep(3)  # what was only needed for starting ends
    kinds: dict[str, float] = {}
    for pid, what in _processes().items():
        if what == "seatrial.agents.nursery" or (pid not in before and what != _PROGRAM):
            kinds[what] = kinds.get(what, 0.0) + _memory(pid)
    running = sum(agent.phase == "running" for agent in project.records.agents())
    for number in range(count):
        agents.delete(project, f"many-{number}", discard=True)
    return {
        "agents": running,
        "seconds_to_start_all": round(seconds, 2),
        "mib_per_agent": {
            "all": round(sum(kinds.values()) / count, 2),
            **{kind: round(total / count, 2) for kind, total in sorted(kinds.items(), key=lambda entry: -entry[1])},
        },
    }


@contextlib.contextmanager
def _scripted_model(folder: Path) -> Iterator[str]:
    """Give the address of a model that always says the same."""
    script, port = folder / "script.toml", folder / "port"
    script.write_text('[[turn]]\ntext = "Ready."\n')
    words = ["-m", "seatrial.agents.scripted.model", str(script), "--port", "0", "--port-file", str(port)]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL) as process:
        try:
            while not port.exists() or not port.read_text().strip():
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port.read_text().strip()}"
        finally:
            process.kill()


def _measure_messages(project: Any, count: int) -> dict[str, dict[str, float]]:
    from seatrial import agents, paths

    seen: dict[str, list[float]] = {"delivered": [], "taken by the agent": []}
    with tempfile.TemporaryDirectory() as folder, _scripted_model(Path(folder)) as address:
        settings = f'[providers.anthropic]\nbase_url = "{address}"\nkey = false\n'
        (paths.private_folder(paths.home()) / "agents.toml").write_text(settings)
        agents.start(project, "reader", agents.Choices(harness="mini", task="Begin."))
        for number in range(count + 1):  # the first is a warm-up
            agents.wait(project, "reader", ("idle",), 30)
            time.sleep(0.3)
            begin = datetime.datetime.now(datetime.UTC)
            sent = agents.send(project, "user", "reader", f"message {number}")[0]
            while not sent.acknowledged:
                time.sleep(0.005)
                sent = next(m for m in agents.message_history(project, "reader") if m.id == sent.id)
            for key, when in zip(seen, (sent.delivered, sent.acknowledged), strict=True):
                took = datetime.datetime.fromisoformat(when or "") - begin
                seen[key] += [took.total_seconds() * 1000] if number else []
        agents.delete(project, "reader", discard=True)
    return {key: summary(values) for key, values in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--messages", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from bench import machine

    with small_project() as project:
        messages = _measure_messages(project, options.messages)
        memory = _measure_memory(project, options.agents)
    sys.stdout.write(table(messages, "ms") + json.dumps(memory, indent=2) + "\n")
    if options.json:
        found = {"machine": machine.describe(), **memory, "message_milliseconds": messages}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
