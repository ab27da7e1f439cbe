"""One engine in a process: `python -m bench.peers.worker MODULE FOLDER TOKENS FORM`.

Prints the facts as one JSON line, then a sample for each line read.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from bench.peers import Job, OpenModel


def main() -> None:
    """Load, then answer whenever asked to."""
    module, folder, tokens, form = sys.argv[1:]
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the engines print is not for the reader
    open_model: OpenModel = importlib.import_module(f"bench.peers.{module}").open_model
    facts, answer = open_model(Job(Path(folder), int(tokens), form))
    print(json.dumps(facts), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(answer()), file=answers, flush=True)


if __name__ == "__main__":
    main()
