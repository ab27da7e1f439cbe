"""Logs of Claude Code as they would lie in a home: made from a seed, with a change that is known.

From session `change_at` on, a new version of the program reads half as many files before it edits.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_MODEL = "claude-opus-4-5-20251101"
_PROMPTS = (
    "Add a column for the price to the report in report.py",
    "Why does the import of orders fail for empty files?",
    "Fix the bug in parse.py: TypeError for None",
    "Rename the function load to read_orders everywhere",
    "Please write the missing tests of the basket",
)


def write_home(
    home: Path,
    sessions: int,
    *,
    change_at: int | None = None,
    drop: float = 0.5,
    seed: int = 0,
    until: datetime | None = None,
) -> None:
    """Write `sessions` logs under `home`/.claude/projects, three a day, the last one on the day before `until`."""
    source = random.Random(seed)
    last = (until or datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0)
    first = last - timedelta(days=(sessions + 2) // 3)
    for number in range(sessions):
        is_new = change_at is not None and number >= change_at
        project = source.choice(("shop", "billing"))
        folder = home / ".claude" / "projects" / f"-home-ann-{project}"
        folder.mkdir(parents=True, exist_ok=True)
        start = first + timedelta(days=number // 3, hours=8 + 4 * (number % 3), minutes=source.randrange(60))
        lines = _Session(source, number, project, start, "2.1.110" if is_new else "2.1.96", drop if is_new else 0.0)
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        (folder / f"{number:08d}-0000-4000-8000-000000000000.jsonl").write_text(text, encoding="utf-8")


class _Session:
    def __init__(
        self, source: random.Random, number: int, project: str, at: datetime, version: str, drop: float
    ) -> None:
        self.source, self.number, self.project, self.at, self.version = source, number, project, at, version
        self.rate = source.lognormvariate(0.7, 0.45) * (1 - drop)
        self.count = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for _ in range(self.source.randrange(2, 6)):
            yield self._line("user", {"role": "user", "content": self.source.choice(_PROMPTS)})
            for _ in range(self.source.randrange(1, 5)):
                for _ in range(_poisson(self.source, self.rate)):
                    yield from self._tool("Read", {"file_path": self._file()})
                yield from self._tool("Edit", {"file_path": self._file(), "old_string": "a", "new_string": "b"})
            yield self._answer([{"type": "text", "text": "Done: the tests pass. " * self.source.randrange(1, 6)}])

    def _file(self) -> str:
        return f"/home/ann/{self.project}/src/file{self.source.randrange(12)}.py"

    def _line(self, kind: str, message: dict[str, Any], **more: Any) -> dict[str, Any]:
        self.count += 1
        self.at += timedelta(seconds=self.source.randrange(2, 40))
        identity = f"{self.number:08d}-0000-4000-8000-000000000000"
        return {
            "type": kind, "uuid": f"{self.number}-{self.count}", "sessionId": identity, "version": self.version,
            "cwd": f"/home/ann/{self.project}", "gitBranch": "main", "timestamp": self.at.isoformat(),
            "userType": "external", "isSidechain": False, "message": message, **more,
        }  # fmt: skip

    def _answer(self, blocks: list[dict[str, Any]]) -> dict[str, Any]:
        identity = f"msg_{self.number}_{self.count}"
        usage = {
            "input_tokens": 8, "output_tokens": self.source.randrange(120, 900),
            "cache_read_input_tokens": 20_000, "cache_creation_input_tokens": 900,
        }  # fmt: skip
        thought = {"type": "thinking", "thinking": "", "signature": "s" * self.source.randrange(300, 700)}
        content = [thought, *blocks]
        message = {
            "id": identity,
            "role": "assistant",
            "model": "claude-opus-4-5-20251101",
            "content": content,
            "usage": usage,
        }
        return self._line("assistant", message, requestId=f"req_{self.number}_{self.count}")

    def _tool(self, name: str, arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
        identity = f"toolu_{self.number}_{self.count}"
        yield self._answer([{"type": "tool_use", "id": identity, "name": name, "input": arguments}])
        failed = self.source.random() < 0.05
        result = {
            "type": "tool_result",
            "tool_use_id": identity,
            "content": "x" * self.source.randrange(50, 900),
            "is_error": failed,
        }
        yield self._line("user", {"role": "user", "content": [result]})


def _poisson(source: random.Random, mean: float) -> int:
    limit, product, count = 2.718281828459045**-mean, source.random(), 0
    while product > limit:
        product *= source.random()
        count += 1
    return count
