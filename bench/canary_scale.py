"""What a whole report costs: 1,999 permutations, 200 placebos, 100 plants of two sizes; 300 to 20,000 sessions.

    python -m bench.canary_scale --json bench/results/canary_scale.json

Sessions are drawn from real ones.  Seconds are of the wall clock, one process, the best of `--runs`; the parts
grow with the number of sessions, so that the cost of a session should stay the same from 1× to 4× to 16×.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from bench.agents_start import table
from bench.canary_worlds import drawn, real_sessions
from seatrial.canary.judge import Effort, judge
from seatrial.canary.report import Report, Window

SIZES = (300, 1200, 4800, 20000)


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, help="logs instead of the sample beside the repository")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    real = real_sessions(given.logs)
    results = []
    for size in SIZES:
        sessions = drawn(real, size, np.random.default_rng(size), a_day=max(3.6, size / 700))
        seconds = []
        for _ in range(given.runs if size < 10000 else 1):
            began = time.perf_counter()
            Report(judge(sessions, Effort()), Window(), sessions).as_dict()
            seconds.append(time.perf_counter() - began)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        results.append({"sessions": size, "seconds": min(seconds), "peak MB": memory})
        print(f"{size} sessions: {min(seconds):.2f} s", flush=True)
    rows = {
        f"{entry['sessions']:,.0f} sessions": {
            "seconds": entry["seconds"],
            "ms each": 1000 * entry["seconds"] / entry["sessions"],
            "peak MB": entry["peak MB"],
        }
        for entry in results
    }
    print(table(rows, "", 2))
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
