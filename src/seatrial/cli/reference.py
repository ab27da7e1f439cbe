"""Writes the reference pages from the program itself: `python -m seatrial.cli.reference docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from seatrial import settings
from seatrial.cli import seatrial

_WIDTH = 100


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield (full name, command) for `command` and everything below it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, f"{path} {name}")


def cli_page() -> str:
    """Return docs/cli.md: the help text of every command."""
    parts = ["# Command line", "", "Made from the program by `make docs`; do not edit."]
    for path, command in walk(seatrial, "seatrial"):
        context = click.Context(
            command,
            info_name=path,
            terminal_width=_WIDTH,
            max_content_width=_WIDTH,
            help_option_names=["-h", "--help"],
        )
        parts += ["", f"## {path}", "", "```text", command.get_help(context), "```"]
    return "\n".join(parts) + "\n"


def settings_page() -> str:
    """Return docs/settings.md: every setting, its environment variable and default."""
    rows = [
        "# Settings",
        "",
        "Made from the program by `make docs`; do not edit.",
        "",
        "Precedence: `seatrial.toml` (working folder, its parents, then Seatrial's home) < environment < arguments.",
        "Unknown sections and keys are refused.",
        "",
        "| section | key | environment | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for section, key, default, about in settings.described():
        shown = "" if isinstance(default, settings.Secret) else f"`{default}`"
        rows.append(f"| [{section}] | {key} | `{settings.variable(section, key)}` | {shown} | {about} |")
    rows += [
        "",
        "Switches of one process, read from the environment only:",
        "",
        "| variable | meaning |",
        "|---|---|",
        "| `SEATRIAL_HOME` | Where state, pulled models and caches live (default: the platform's data folder). |",
        "| `SEATRIAL_OPS` | Operations: `auto`, `reference`, `native`, `amx`, `avx512`, `avx2`, `neon`, `generic`. |",
        "| `SEATRIAL_THREADS` | Threads of the native operations (default: what affinity and the cgroup allow). |",
        "| `SEATRIAL_DEBUG` | `1` prints the traceback after an error's message. |",
        "| `SEATRIAL_NO_NATIVE` | When installing: leave the native kernels out. |",
    ]
    return "\n".join(rows) + "\n"


PAGES = {"cli.md": cli_page, "settings.md": settings_page}


def main() -> None:
    """Write every page into the folder given."""
    folder = Path(sys.argv[1])
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
