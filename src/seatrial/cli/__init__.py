"""The command line: one lazy group; an area's module is imported when its command is used."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence

import click

from seatrial.cli.groups import LazyGroup
from seatrial.errors import SeatrialError

AREAS = {
    "see": (
        "seatrial.cli.see:see",
        "Ask questions about pictures, documents and video, on this machine's CPU.",
    ),
    "agent": (
        "seatrial.cli.agent:agent",
        "Run coding agents in sandboxes of their own, and land their work.",
    ),
    "db": (
        "seatrial.cli.db:db",
        "Give previews and agents their own Postgres branches, behind a human gate.",
    ),
    "canary": (
        "seatrial.cli.canary:canary",
        "Tell from the logs whether the coding agent changed, with known error rates.",
    ),
    "evidence": (
        "seatrial.cli.evidence:evidence",
        "List and show the evidence that the areas have recorded.",
    ),
    "doctor": ("seatrial.cli.doctor:doctor", "Check this installation and say what runs."),
    "version": ("seatrial.cli.doctor:version", "Print the version."),
}


@click.group(cls=LazyGroup, lazy=AREAS, context_settings={"help_option_names": ["-h", "--help"]})
def seatrial() -> None:
    """Seatrial: the yard where coding-agent work is tried before it sails.

    Everything runs on this machine; nothing leaves it.

    \b
    Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 negative verdict, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; errors are one sentence, never a traceback.

    With `SEATRIAL_DEBUG=1` the traceback follows the message.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    try:
        seatrial.main(args=arguments, prog_name="seatrial", standalone_mode=False)
        sys.stdout.flush()
    except SeatrialError as problem:
        _fail(problem, as_json, problem.exit_code)
    except click.exceptions.NoArgsIsHelpError as problem:
        click.echo(problem.format_message())
        sys.exit(2)
    except click.ClickException as problem:
        context = getattr(problem, "ctx", None)
        hint = f"{context.command_path} --help" if context else None
        usage = SeatrialError(problem.format_message(), hint=hint)
        _fail(usage, as_json, problem.exit_code, code="usage_error")
    except (click.Abort, KeyboardInterrupt):
        _fail(SeatrialError("Interrupted."), as_json, 130, code="interrupted")
    except BrokenPipeError:
        # The reader went away (`| head`); point stdout at nothing so that exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError as problem:
        error = SeatrialError(
            "There is not enough memory for this.", hint="seatrial see info MODEL says what is needed."
        )
        error.__cause__ = problem
        _fail(error, as_json, 1, code="out_of_memory")


def _fail(problem: SeatrialError, as_json: bool, exit_code: int, code: str | None = None) -> None:
    if as_json:
        error = {**problem.as_dict(), "code": code or problem.code}
        click.echo(json.dumps({"ok": False, "error": error}, ensure_ascii=False))
    else:
        click.secho(f"error: {_shown(problem.message)}", fg="red", err=True)
        if problem.hint:
            click.echo(f"hint: {_shown(problem.hint)}", err=True)
    if os.environ.get("SEATRIAL_DEBUG") == "1":
        traceback.print_exc()
    sys.exit(exit_code)


def _shown(text: str) -> str:
    """Return text that may quote a hostile file, without what a terminal would obey."""
    return "".join(c if c in "\n\t" or c.isprintable() else "?" for c in text)
