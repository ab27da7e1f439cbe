"""Pages that people open: every text from outside is escaped, and what cannot be seen is shown as its number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

KEPT = "\n\t"
"""Characters that cannot be printed and stay as they are."""


def shown(text: str, kept: str = KEPT) -> Markup:
    """Return `text` escaped, with characters that cannot be seen as their numbers."""
    if text.isprintable():
        return escape(text)
    parts = [
        escape(c) if c.isprintable() or c in kept else Markup('<b class="code">U+{:04X}</b>').format(ord(c))
        for c in text
    ]
    return Markup("").join(parts)


def environment(
    folder: Path, functions: Iterable[Callable[..., Any]], show: Callable[[str], Markup] = shown
) -> jinja2.Environment:
    """Return the templates of `folder`, which call `functions` by their names; `show` escapes each text."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: show(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    made.globals.update({function.__name__: function for function in functions})
    return made
