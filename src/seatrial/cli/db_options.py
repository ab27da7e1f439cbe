"""Parts that the verbs of `seatrial db` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from seatrial.database import Project

Function = Callable[..., Any]


def in_project(function: Function) -> Function:
    """Add `--project`."""
    return click.option("--project", metavar="FOLDER", help="The project (default: the working folder's).")(function)


def project_of(options: dict[str, Any]) -> Project:
    """Return the project of `--project` or the working folder, after what killed processes left is put right."""
    from seatrial import database

    project = database.find_project(Path(options["project"]) if options.get("project") else None)
    for sentence in database.reconcile(project):
        click.secho(f"found: {sentence}", fg="yellow", err=True)
    return project


def size(count: float) -> str:
    """Return bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
