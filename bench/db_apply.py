"""How long readers wait while a change is applied behind a long transaction, beside the same statement by itself.

    python -m bench.db_apply --seconds 60 --json bench/results/db_apply.json

A transaction that has read the table stays open for `--seconds`; readers ask for one row all the time.  `apply` is the
gate's, with its lock timeout and tries; `plain` is ALTER TABLE as anybody would type it, which queues at the lock, and
every reader behind it.  `stall` is the longest that a single read took, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
if not __package__:  # run as a file, not with -m
    sys.path.insert(0, str(REPOSITORY))

from bench.machine import describe  # noqa: E402

_READERS = 4
_TABLE = (
    "CREATE TABLE public.busy (id int PRIMARY KEY, a text);"
    "INSERT INTO public.busy SELECT i, 'x' FROM generate_series(1, 1000) i;"
)


def with_readers(address: str, seconds: float, change: Callable[[], Any]) -> dict[str, float]:
    """Hold the table for `seconds`, read it meanwhile, run `change`; return what readers and the change saw."""
    import psycopg

    reads: list[float] = []
    stop = threading.Event()

    def read() -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            while not stop.is_set():
                began = time.perf_counter()
                connection.execute("SELECT a FROM public.busy WHERE id = 7")
                reads.append(time.perf_counter() - began)
                time.sleep(0.002)

    def hold() -> None:
        with psycopg.connect(address, application_name="the long transaction") as connection:
            connection.execute("SELECT count(*) FROM public.busy")
            time.sleep(seconds)

    holder = threading.Thread(target=hold)
    readers = [threading.Thread(target=read) for _ in range(_READERS)]
    for thread in (holder, *readers):
        thread.start()
    time.sleep(0.5)
    reads.clear()
    began = time.perf_counter()
    change()
    took = time.perf_counter() - began
    holder.join()
    stop.set()
    for thread in readers:
        thread.join()
    return {"stall, ms": round(max(reads) * 1000, 1), "reads": len(reads), "change, s": round(took, 2)}


def measure(seconds: float, lock_timeout_ms: int) -> dict[str, dict[str, float]]:
    """Return what was seen with the gate and without it."""
    from seatrial import database
    from seatrial.database import production
    from seatrial.database.gate import target

    root = Path(tempfile.mkdtemp(prefix="seatrial-bench-"))
    root.chmod(0o711)
    tries = str(int(seconds * 1000 / lock_timeout_ms) + 50)
    os.environ.update(
        {
            "SEATRIAL_HOME": str(root / "home"),
            "SEATRIAL_DB_FOLDER": str(root / "clusters"),
            "SEATRIAL_DB_LOCK_TIMEOUT_MS": str(lock_timeout_ms),
            "SEATRIAL_DB_APPLY_TRIES": tries,
        }
    )
    (root / "shop").mkdir()
    project = database.init(root / "shop", name="bench")
    try:
        with production.cluster_of(project).connect("bench") as connection:
            connection.execute(f"SET ROLE bench_owner; {_TABLE}".encode())
        database.add_reviewer(project, "rita")
        proposal = database.propose(project, database.Change("ALTER TABLE busy ADD COLUMN b int"), author="ann")
        database.approve(project, proposal.id, approver="rita", hazards=proposal.opened().hazards)
        address = database.url(project)
        gate = with_readers(address, seconds, lambda: database.apply(project, proposal.id))

        def plain() -> None:
            with target.deployer(project) as connection:
                connection.execute("ALTER TABLE public.busy ADD COLUMN c int")

        return {"apply": gate, "plain": with_readers(address, seconds, plain)}
    finally:
        database.down(project)
        project.records.close()
        shutil.rmtree(root)


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long the transaction stays open")
    parser.add_argument("--lock-timeout-ms", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.seconds, options.lock_timeout_ms)
    for name, values in found.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in values.items()))
    if options.json:
        facts = {"machine": describe(), "seconds": options.seconds, "lock_timeout_ms": options.lock_timeout_ms}
        options.json.write_text(json.dumps({**facts, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
