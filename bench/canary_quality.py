"""How often a verdict is wrong: false alarms, power, causes, on real sessions in which it is known what has changed.

    python -m bench.canary_quality --runs 500 --json bench/results/canary_quality.json

Every history gets the whole pipeline but for the placebos, which can only take an alarm back.  Rivals' rules judge the
same histories.  Intervals are Wilson's at 95 %; seeds are fixed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.canary_baselines import RULES
from bench.canary_causes import CAUSES, said
from bench.canary_worlds import NUISANCES, READS, drawn, planted, real_sessions, shuffled
from seatrial.canary.features import Features
from seatrial.canary.judge import Effort, judge
from seatrial.canary.placebo import wilson

ALARMS = ("REGRESSED", "IMPROVED", "CHANGED")
EFFORT = Effort(permutations=199, draws=200, placebos=0)
DROPS = ((0.5, 60), (0.3, 60), (0.3, 120), (0.5, 30), (0.7, 30))
Users = dict[str, list[Features]]
Task = Callable[[int], dict[str, Any]]


def users_of(sessions: Sequence[Features]) -> Users:
    """Return the histories that are judged: the person with most sessions, the others together, all as one team."""
    counts = Counter(session.place for session in sessions)
    most = counts.most_common(1)[0][0]
    return {
        "one person": [session for session in sessions if session.place == most],
        "two others": [session for session in sessions if session.place != most],
        "team of three": list(sessions),
    }


def alarm(users: Users, user: str, nuisance: str, seed: int) -> dict[str, Any]:
    """Return the verdicts on one history in which the agent did not change."""
    random = np.random.default_rng(seed)
    sessions = shuffled(users[user], random)
    if nuisance:
        NUISANCES[nuisance](sessions, random)
    return _verdicts(sessions)


def power(users: Users, drop: float, a_side: int, seed: int) -> dict[str, Any]:
    """Return what is said of a history in whose later half fewer files are read."""
    random = np.random.default_rng(seed)
    # At least five weeks: of fewer than 24 active days nothing is said.
    sessions = drawn(users["one person"], 2 * a_side, random, a_day=min(3.6, 2 * a_side / 34))
    planted(sessions, drop, random)
    found = _verdicts(sessions)
    judged = judge(sessions, EFFORT)
    moved = [f for f in judged.findings if f.metric.name in READS and f.p <= 0.05]
    found["ours"] = bool(moved)
    found["verdict"] = judged.verdict
    if moved and moved[0].location:
        truth = int((sessions[a_side].start) // 86400) + 719163
        found["inside"] = moved[0].location.earliest <= truth <= moved[0].location.latest
        found["days off"] = abs(moved[0].location.day - truth)
    size = next((f.size for f in judged.findings if f.metric.name == READS[0] and f.p <= 0.05), None)
    if size:
        found["covered"] = size.interval95[0] <= np.log(1 - drop) <= size.interval95[1]
        found["log ratio"] = size.log_ratio
    return found


def cause(users: Users, name: str, seed: int) -> dict[str, Any]:
    """Return whether the cause of a planted change was named."""
    random = np.random.default_rng(seed)
    sessions = drawn(users["one person"], 120, random)
    CAUSES[name].make(sessions, random)
    label = said(judge(sessions, EFFORT))
    entry = CAUSES[name]
    return {"right": label in entry.right, "wrong": label not in entry.right + entry.open_, "label": label}


def _verdicts(sessions: Sequence[Features]) -> dict[str, Any]:
    found: dict[str, Any] = {name: rule(sessions).fires for name, rule in RULES.items()}
    verdict = judge(sessions, EFFORT).verdict
    return {**found, "ours": verdict in ALARMS, "verdict": verdict}


def run(pool: ProcessPoolExecutor, task: Task, runs: int, first: int) -> list[dict[str, Any]]:
    """Return what `runs` seeds from `first` on gave."""
    return list(pool.map(task, range(first, first + runs), chunksize=5))


def share(found: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return how often `name` is true, with its interval."""
    hits = sum(bool(entry.get(name)) for entry in found)
    low, high = wilson(hits, len(found))
    return {"share": hits / len(found), "interval": [low, high], "of": len(found)}


Measured = Iterator[tuple[str, str, dict[str, Any]]]
_RULES = ("ours", *RULES)


def false_alarms(users: Users, runs: int, pool: ProcessPoolExecutor) -> Measured:
    """Yield part, case and numbers of histories in which the agent did not change."""
    rules = _RULES
    for user in users:
        found = run(pool, partial(alarm, users, user, ""), runs, 1000)
        verdicts = dict(Counter(entry["verdict"] for entry in found))
        yield "false alarms", f"{user}, shuffled", {**{r: share(found, r) for r in rules}, "verdicts": verdicts}
    for nuisance in NUISANCES:
        found = run(pool, partial(alarm, users, "one person", nuisance), runs, 2000)
        verdicts = dict(Counter(entry["verdict"] for entry in found))
        yield "false alarms", nuisance, {**{r: share(found, r) for r in rules}, "verdicts": verdicts}


def planted_drops(users: Users, runs: int, pool: ProcessPoolExecutor) -> Measured:
    """Yield part, case and numbers of histories in which fewer files are read from the middle on."""
    rules = _RULES
    for drop, a_side in DROPS:
        found = run(pool, partial(power, users, drop, a_side), max(runs // 2, 50), 3000)
        numbers: dict[str, Any] = {rule: share(found, rule) for rule in rules}
        hits = [entry for entry in found if "covered" in entry]
        numbers["verdicts"] = dict(Counter(entry["verdict"] for entry in found))
        if hits:
            numbers["date in its interval"] = share([entry for entry in found if "inside" in entry], "inside")
            numbers["size in its interval"] = share(hits, "covered")
            numbers["median size"] = float(np.median([np.expm1(entry["log ratio"]) for entry in hits]))
            numbers["median days off"] = float(np.median([e["days off"] for e in found if "days off" in e]))
        yield "power", f"{drop:.0%} fewer reads, {a_side} sessions a side", numbers


def causes(users: Users, runs: int, pool: ProcessPoolExecutor) -> Measured:
    """Yield part, case and numbers of histories in which it is known who changed."""
    for name in CAUSES:
        found = run(pool, partial(cause, users, name), max(runs // 5, 40), 4000)
        labels = dict(Counter(entry["label"] for entry in found))
        yield "causes", name, {"right": share(found, "right"), "wrong": share(found, "wrong"), "labels": labels}


PARTS = {"alarms": false_alarms, "power": planted_drops, "causes": causes}


def shown(part: str, case: str, numbers: dict[str, Any]) -> tuple[str, ...]:
    """Return a row for people."""
    cells = [
        f"{name} {entry['share']:.1%} ({entry['interval'][0]:.1%}–{entry['interval'][1]:.1%})"
        for name, entry in numbers.items()
        if isinstance(entry, dict) and "share" in entry
    ]
    rest = [f"{name} {value}" for name, value in numbers.items() if not (isinstance(value, dict) and "share" in value)]
    return part, case, "; ".join(cells + rest)


def main() -> None:
    """Measure everything, print it as it comes, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, help="logs instead of the sample beside the repository")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--only", choices=sorted(PARTS), help="only one part")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    users = users_of(real_sessions(given.logs))
    began, results = time.time(), []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name in [given.only] if given.only else PARTS:
            for part, case, numbers in PARTS[name](users, given.runs, pool):
                results.append({"part": part, "case": case, **numbers})
                print(f"{time.time() - began:6.0f} s", *shown(part, case, numbers), flush=True)
                if given.json:
                    given.json.write_text(json.dumps({"runs": given.runs, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
