"""Tokens by model of every Claude Code log in a folder, as JSON: the process whose time and memory are measured.

python -m bench.canary_totals FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from seatrial.canary.events import ApiMessage
from seatrial.canary.readers.claude_code import read
from seatrial.canary.readers.files import open_regular

COUNTS = ("input", "output", "cache_read", "cache_write")


def totals(folder: Path) -> dict[str, Any]:
    """Return tokens by model, of the sessions themselves (`own`) and of sub-agents in their files (`nested`)."""
    found: dict[str, dict[str, list[int]]] = {"own": {}, "nested": {}, "first": {}}
    size = events = 0
    for file in sorted(folder.rglob("*.jsonl")):
        with open_regular(file) as stream:
            session = read(stream, str(file))
        size += session.health.bytes
        events += len(session.events)
        for message in session.events:
            if isinstance(message, ApiMessage):
                _add(found["own"], message.model, message.usage)
                _add(found["first"], message.model, message.first_usage)
        for message in session.nested:
            _add(found["nested"], message.model, message.usage)
    return {"bytes": size, "events": events, **found}


def _add(models: dict[str, list[int]], model: str, usage: Any) -> None:
    sums = models.setdefault(model, [0] * len(COUNTS))
    for place, count in enumerate(COUNTS):
        sums[place] += getattr(usage, count)


if __name__ == "__main__":
    json.dump(totals(Path(sys.argv[1])), sys.stdout)
