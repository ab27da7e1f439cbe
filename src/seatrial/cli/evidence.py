"""`seatrial evidence`: list, show."""

from __future__ import annotations

from typing import Any

import click

from seatrial import evidence as records
from seatrial import settings
from seatrial.cli.groups import JsonCommand
from seatrial.store import Store


@click.group()
def evidence() -> None:
    """List and show the evidence that the areas have recorded."""


@evidence.command("list", cls=JsonCommand)
@click.option("--subject", help="Only records about this subject.")
@click.option("--kind", help="Only records of this kind.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most records shown.")
def list_(subject: str | None, kind: str | None, limit: int, **options: Any) -> dict[str, Any]:
    """List the newest records first.

    \b
    Example:
      seatrial evidence list --kind benchmark --json
    """
    found = records.select(Store.open(settings.load()), subject=subject, kind=kind, limit=limit)
    if not options["as_json"]:
        for entry in found:
            click.echo(f"{entry.id[:12]}  {entry.outcome:<12} {entry.subject}  {entry.kind}  {entry.summary}")
    return {"evidence": [entry.as_dict() for entry in found]}


@evidence.command(cls=JsonCommand)
@click.argument("evidence_id", metavar="ID")
def show(evidence_id: str, **options: Any) -> dict[str, Any]:
    """Show one record; the beginning of its id is enough.

    \b
    Example:
      seatrial evidence show 3f9a
    """
    entry = records.load(Store.open(settings.load()), evidence_id)
    if not options["as_json"]:
        for name, value in entry.as_dict().items():
            click.echo(f"{name:<13} {value}")
    return entry.as_dict()
