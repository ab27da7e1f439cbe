"""Progress on stderr: a bar on a terminal, plain lines otherwise, nothing with `--json`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from seatrial.vision import Decoding, Engine, Prompt, Reply

_QUIET_SECONDS = 2.0


@contextmanager
def working(what: str, *, quiet: bool) -> Iterator[None]:
    """Show on a terminal that `what` is under way until the block ends."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def counting(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (done, total): a bar on a terminal, else a line every two seconds."""
    if quiet:
        yield lambda _done, _total: None
    elif not sys.stderr.isatty():
        last = time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > _QUIET_SECONDS:
                last = time.monotonic()
                click.echo(f"{what}: {done} of {total}", err=True)

        yield line
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def show_answer(
    engine: Engine, prompt: Prompt, decoding: Decoding, draft: Prompt | None = None, *, quiet: bool
) -> Reply:
    """Run one prompt (`draft`: for the draft model): tiles as a bar, then the answer as it is made."""
    answer = None
    with counting("looking at tiles", quiet=quiet) as report:
        pieces = engine.stream_prompt(prompt, decoding, report, draft=draft)
        try:
            first = next(pieces)
        except StopIteration as finished:
            answer, first = finished.value, ""
    if not quiet:
        click.echo(first, nl=False)
    while answer is None:
        try:
            piece = next(pieces)
        except StopIteration as finished:
            answer = finished.value
        else:
            if not quiet:
                click.echo(piece, nl=False)
    if not quiet:
        click.echo()
    reply: Reply = answer
    return reply
