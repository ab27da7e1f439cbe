"""`seatrial doctor` and `seatrial version`."""

from __future__ import annotations

from typing import Any

import click

from seatrial import __version__
from seatrial.cli.groups import JsonCommand


@click.command(cls=JsonCommand)
def version(**options: Any) -> dict[str, Any]:
    """Print the version.

    \b
    Example:
      seatrial version --json
    """
    if not options["as_json"]:
        click.echo(f"seatrial {__version__}")
    return {"version": __version__}


@click.command(cls=JsonCommand)
def doctor(**options: Any) -> dict[str, Any]:
    """Check this installation: what is installed, which kernels run, where state lives.

    \b
    Examples:
      seatrial doctor
      SEATRIAL_OPS=reference seatrial doctor --json
    """
    from seatrial.cli import diagnosis

    checks = diagnosis.diagnose()
    if not options["as_json"]:
        for check in checks:
            mark = click.style("ok  ", fg="green") if check.ok else click.style("FAIL", fg="red")
            click.echo(f"{mark} {check.name:<12} {check.finding}")
            if check.hint:
                click.echo(f"     {'':<12} {check.hint}")
    if not all(check.ok for check in checks):
        raise diagnosis.DiagnosisError(checks)
    return {"checks": [check.as_dict() for check in checks]}
