"""Parts that the verbs of `seatrial agent` share: the project, options of choices, tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seatrial.errors import PolicyError

if TYPE_CHECKING:
    from seatrial.agents import Choices, Project

_COLOURS = {"running": "green", "error": "red", "stopped": "yellow", "created": "cyan"}
Function = Callable[..., Any]


def project_of(options: dict[str, Any]) -> Project:
    """Return the project of `--project` or the working folder, after what killed processes left is put right."""
    from seatrial import agents

    project = agents.find_project(Path(options["project"]) if options.get("project") else None)
    for sentence in agents.reconcile(project):
        click.secho(f"found: {sentence}", fg="yellow", err=True)
    return project


def in_project(function: Function) -> Function:
    """Add `--project`."""
    return click.option("--project", metavar="FOLDER", help="The repository (default: the working folder's).")(function)


def choosing(function: Function) -> Function:
    """Add the options that choose what an agent is and may do."""
    for option in reversed(
        [
            click.option("--harness", "-H", default="", help="Coding agent: seatrial agent harness list."),
            click.option("--template", "-t", default="", help="What it is told and given."),
            click.option("--profile", "-p", default="", help="Profile of agents.toml."),
            click.option("--runtime", default="", help="bubblewrap, podman or docker."),
            click.option(
                "--image", default="", help="Root file system: an image, instead of this machine's toolchain."
            ),
            click.option("--model", "-m", default="", help="Model, by the harness's name for it."),
            click.option("--base", default="", help="Commit to start from (default: HEAD)."),
            click.option("--task-file", type=click.File("r"), help="Read the task from a file; - is standard input."),
            click.option("--allow", multiple=True, metavar="HOST", help="Host that may be reached, or preset:pypi."),
            click.option("--local", multiple=True, metavar="HOST:PORT", help="Service of this machine it may reach."),
            click.option("--read", multiple=True, metavar="PATH", help="Host path that it may read."),
            click.option("--write", multiple=True, metavar="PATH", help="Host path that it may write."),
            click.option("--include", multiple=True, metavar="PATTERN", help="Untracked files to take along (.env)."),
            click.option("--env", multiple=True, metavar="NAME=VALUE", help="Variable inside."),
            click.option("--memory", default="", help="Most memory, e.g. 4GiB."),
            click.option("--cpus", type=float, help="Most processors."),
            click.option("--disk", default="", help="Most bytes written, e.g. 10GiB."),
            click.option("--time", "time_", default="", help="Most wall-clock time, e.g. 2h."),
            click.option("--tokens", type=int, help="Budget of tokens."),
            click.option("--usd", type=float, help="Budget of money."),
            click.option("--requests", type=int, help="Budget of calls."),
            click.option("--children", type=int, help="Most agents it may start."),
            click.option("--no-keys", is_flag=True, help="Use no key, e.g. for a local model server."),
            click.option("--replay", default="", metavar="FOLDER", help="Answer from a recording, without a model."),
            click.option("--parent", default="", hidden=True),
        ]
    ):
        function = option(function)
    return in_project(function)


def choices_of(words: Sequence[str], options: dict[str, Any]) -> Choices:
    """Return what the options and words say; words after `--` are arguments of the harness."""
    from seatrial.agents import Choices

    task, arguments = _split(list(words))
    if options["task_file"]:
        task = options["task_file"].read().strip()
    limits = {
        "memory": options["memory"],
        "cpus": options["cpus"],
        "disk": options["disk"],
        "seconds": options["time_"],
    }
    rules: dict[str, Any] = {
        "files": {key: list(options[key]) for key in ("read", "write", "include") if options[key]},
        "network": {
            key: list(options[name]) for key, name in (("hosts", "allow"), ("local_services", "local")) if options[name]
        },
        "limits": {key: value for key, value in limits.items() if value},
        "environment": {"set": dict(_pair(text) for text in options["env"])} if options["env"] else {},
    }
    if options["image"]:
        rules["files"]["root"] = options["image"]
    if options["children"]:
        rules["spawn"] = options["children"]
    return Choices(
        **{name: options[name] for name in ("harness", "template", "profile", "runtime", "model", "base", "parent")},
        task=task,
        arguments=tuple(arguments),
        policy={key: value for key, value in rules.items() if value},
        budget=budget_of(options),
        keys=not options["no_keys"],
        replay=str(Path(options["replay"]).absolute()) if options["replay"] else "",
    )


def budget_of(options: dict[str, Any]) -> dict[str, float]:
    """Return the budget that the options name."""
    return {key: options[key] for key in ("tokens", "usd", "requests") if options.get(key) is not None}


def _split(words: list[str]) -> tuple[str, list[str]]:
    # click drops the first `--`; what it stood before is found in the arguments of the process.
    given = sys.argv[1:]
    if "--" in given:
        after = given[given.index("--") + 1 :]
        if after and words[-len(after) :] == after:
            return " ".join(words[: -len(after)]), after
    return " ".join(words), []


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise PolicyError(f"--env {text} must be NAME=VALUE.")
    return name, value


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table with columns as wide as they need be."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(headings), *cells]) for i in range(len(headings))]
    click.secho(
        "  ".join(text.upper().ljust(width) for text, width in zip(headings, widths, strict=True)).rstrip(), bold=True
    )
    for row in cells:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def coloured(phase: str) -> str:
    """Return a phase in its colour."""
    return click.style(phase, fg=_COLOURS.get(phase))
