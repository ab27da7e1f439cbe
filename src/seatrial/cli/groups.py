"""Click parts that all areas share: the lazy group, and commands that speak JSON."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

import click

Lazy = Mapping[str, tuple[str, str]]
"""command name -> ("module:attribute", one line of help)"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, and listed without importing them."""

    def __init__(self, *args: Any, lazy: Lazy | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of the table."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return one command."""
        if name not in self._lazy:
            return super().get_command(ctx, name)
        module, _, attribute = self._lazy[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their one line of help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self._lazy.items()])


class JsonCommand(click.Command):
    """A command with `--json`; what it returns is printed as the success envelope.

    The callback returns a dictionary of facts; without `--json` it has printed for people already.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object."))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the callback; print its result as JSON when asked to."""
        facts = super().invoke(ctx)
        if ctx.params["as_json"]:
            click.echo(json.dumps({"ok": True, **(facts or {})}, ensure_ascii=False))
        return None
