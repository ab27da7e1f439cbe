"""How this package reaches into a sandbox, and how what comes back is made printable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from seatrial.errors import AgentError

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


class Finished(Protocol):
    """What is left of a command that ended."""

    @property
    def returncode(self) -> int:
        """Exit status; negative: the signal."""

    @property
    def stdout(self) -> bytes:
        """All of its standard output."""

    @property
    def stderr(self) -> bytes:
        """All of its standard error."""


class Inside(Protocol):
    """Runs a command inside an agent's sandbox, as the agent, in its workspace, and waits for it."""

    def __call__(self, argv: Sequence[str], stdin: bytes | None, /) -> Finished:
        """Return the ended command; must bound both time and output, the command belongs to the agent."""


class InsideTo(Protocol):
    """Like `Inside`, but standard output goes to a host file."""

    def __call__(self, argv: Sequence[str], output: BinaryIO, limit: int, /) -> int:
        """Write at most `limit` bytes to `output` and return the exit status; RelayError beyond the limit."""


@dataclass(frozen=True)
class Completed:
    """A command that ended: exit status and both outputs."""

    returncode: int
    stdout: bytes
    stderr: bytes


def printable(text: bytes | str, *, limit: int = 0, lines: bool = False) -> str:
    """Return text of an agent as something a terminal can be given.

    Control and invisible characters, direction overrides and bytes that are not UTF-8 come out as backslash escapes;
    line feeds and tabs stay where `lines`.  `limit` cuts after so many characters.  Does not protect from letters that
    look alike.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    kept = " \n\t" if lines else " "
    shown = text if text.isprintable() else "".join(c if c.isprintable() or c in kept else _escape(c) for c in text)
    return shown if not limit or len(shown) <= limit else shown[:limit] + "…"


def check_name(name: str) -> str:
    """Return an agent's name that may become part of a ref and of a path; AgentError for any other."""
    if not _NAME.fullmatch(name) or ".." in name or name.endswith(".lock"):
        raise AgentError(
            f"'{printable(name, limit=64)}' cannot be the name of an agent.",
            hint="Use up to 64 letters, digits, '-', '_' and single dots, beginning and ending with a letter or digit.",
        )
    return name


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        code -= 0xDC00
    short = {0x0A: "\\n", 0x09: "\\t"}.get(code)
    return short or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
