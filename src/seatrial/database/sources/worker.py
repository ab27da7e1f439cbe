"""A process that copies rows: `python -m seatrial.database.sources.worker`, started by `workers` alone."""

from __future__ import annotations

import gc
import json
import os
import queue
import sys
import threading

import psycopg

from seatrial.database.masking import columns, policy
from seatrial.database.postgres.connection import explain
from seatrial.database.sources.rows import Copier, Job
from seatrial.database.sources.workers import Ends, Opened, tell
from seatrial.errors import SeatrialError


def main() -> None:
    """Be a worker: read the ends, then one job per line; answer each with its rows or what went wrong."""
    gc.disable()  # lists of fields come and go by the million, and none of them is part of a cycle
    told = json.loads(sys.stdin.readline())
    written = told.pop("policy")
    ends = Ends(**told, policy=policy.parse(*written) if written else None)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(waiting,), daemon=True).start()
    try:
        with Opened(ends) as (source, target):
            copier = Copier(source, target, columns.read(source), ends.policy, ends.salt)
            while True:
                job = Job(**json.loads(waiting.get()))
                tell(sys.stdout, {"rows": copier.copy(job)})
    except SeatrialError as problem:
        tell(sys.stdout, problem.as_dict())
    except psycopg.Error as problem:
        tell(sys.stdout, explain(problem, "Rows cannot be copied").as_dict())
    except Exception as problem:  # a traceback could hold a value
        tell(sys.stdout, {"message": f"Rows cannot be copied: {type(problem).__name__}."})


def _read_jobs(waiting: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        waiting.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
