"""Asks the bundled model about the example pictures, the document and the clip; prints answers and times."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from seatrial import vision

HERE = Path(__file__).parent


def main() -> int:
    """Print one line for each question; return 1 when an answer differs from what is written on the page."""
    entries = json.loads((HERE / "questions.json").read_text(encoding="utf-8"))
    console = Console(width=110)
    engine = vision.open("pico")
    model = engine.model
    console.print(
        f"pico, {model.precision} on {model.ops.instruction_set}, {model.ops.threads or 'BLAS'} threads,"
        f" loaded in {model.load_seconds:.2f} s\n"
    )
    table = Table("file", "question", "answer", "tiles", "first token", "tokens/s", box=None)
    right = 0
    for entry in entries:
        # A question about one page of a document says which.
        pages = str(entry["page"]) if "page" in entry else None
        model.processor.reading = vision.Reading(pages=pages)
        reply = engine.ask(HERE / entry["file"], entry["question"])
        is_right = reply.text == entry["answer"]
        right += is_right
        table.add_row(
            entry["file"],
            entry["question"],
            reply.text if is_right else f"{reply.text} [red](should be {entry['answer']})[/red]",
            str(reply.tiles),
            f"{reply.timings.first_token * 1000:.0f} ms",
            f"{reply.timings.decode_tokens_per_second:.0f}",
        )
    console.print(table)
    console.print(f"\n{right} of {len(entries)} answers are what the file says.")
    console.print("Ask your own: .venv/bin/seatrial see ask FILE... 'QUESTION'")
    return 0 if right == len(entries) else 1


if __name__ == "__main__":
    sys.exit(main())
