"""Harnesses: how each coding agent's command line is started, resumed, configured and talked to, as TOML data.

A definition is found by name in the project's `.seatrial/harnesses/`, then in Seatrial's home, then among those shipped
(`harnesses/*.toml`).  Nothing in one is ever run by a shell.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from seatrial import paths
from seatrial.errors import HarnessError

_SHIPPED = Path(__file__).with_name("harnesses")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
PLACEHOLDERS = (
    "task", "arguments", "model", "name", "gateway", "port", "key", "key_tail", "home", "workspace", "system_prompt",
)  # fmt: skip
_DELIVERIES = ("paste", "pull")

Words = Sequence[str | Sequence[str]]


@dataclass(frozen=True)
class Harness:
    """One coding agent.  Command lines are lists of words; a list among them is left out when a value in it is empty.

    Placeholders: `{task}`, `{arguments}` (as many words as given), `{model}`, `{name}`, `{gateway}` (address of the
    gateway inside), `{port}`, `{key}` (what stands for the key), `{key_tail}` (its last 20 characters), `{home}`,
    `{workspace}`, `{system_prompt}`.
    """

    name: str
    about: str = ""
    program: str = ""
    """Looked up in the user's PATH; its folder is shown inside."""
    provider: str = ""
    """The model API that it calls: `anthropic`, `openai`, `gemini`; empty: none."""
    start: Words = ()
    resume: Words = ()
    """Goes on with the conversation that is in the home folder; empty: the start command.

    Without `{task}`, a task that is given at a resume is typed into the terminal, as a message is.
    """
    version: Words = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Files in the home folder, written before the first start."""
    instructions: str = ""
    """Where in the home folder the template's instructions go."""
    skills: str = ""
    """Where in the home folder skills go."""
    delivery: str = "paste"
    """How a message reaches it: `paste` types it into the terminal, `pull` leaves it to `seatrial-agent inbox`."""
    submit: Sequence[str] = ("Enter",)
    """Keys after a pasted message (names of tmux)."""
    settle: float = 0.05
    """Seconds between pasting and submitting; some programs take keys that follow at once as pasted, too."""
    interrupt: Sequence[str] = ("Escape",)
    """Keys that stop what it is doing."""
    ready: str = ""
    """Regular expression of the screen when it can take text; empty: as soon as it has been quiet."""
    dismiss: Sequence[Mapping[str, str]] = ()
    """Questions that it asks at its first start: `screen` (regular expression) and the `key` that answers."""

    def as_dict(self) -> dict[str, Any]:
        """Return the definition ready for JSON."""
        return asdict(self)

    def command(self, values: Mapping[str, str], arguments: Sequence[str], *, resume: bool) -> list[str]:
        """Return the words of the command line."""
        return list(_filled((self.resume if resume and self.resume else self.start), values, arguments))

    def takes_task(self, *, resume: bool) -> bool:
        """Whether the command line has a place for a task."""
        return "{task}" in str(self.resume if resume and self.resume else self.start)

    def fill(self, text: str, values: Mapping[str, str]) -> str:
        """Return `text` (of a file or variable) with its placeholders filled, in one pass."""
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def _filled(words: Words, values: Mapping[str, str], arguments: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word == "{arguments}":
            yield from arguments
        elif isinstance(word, str):
            yield _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), word)
        else:
            needed = {name for part in word for name in _PLACEHOLDER.findall(part)}
            if all(values.get(name) for name in needed):
                yield from _filled(word, values, arguments)


def from_dict(values: Mapping[str, Any], where: str) -> Harness:
    """Read a definition; HarnessError, naming `where`, for unknown keys, wrong types and unknown placeholders."""
    known = {entry.name: entry for entry in fields(Harness)}
    for key in values:
        if key not in known:
            raise HarnessError(f"{where}: unknown key {key}.", hint=f"Known: {', '.join(known)}.")
    if not isinstance(values.get("name"), str) or not values["name"]:
        raise HarnessError(f"{where}: the name is missing.")
    if not values.get("start"):
        raise HarnessError(f"{where}: the start command is missing.", hint='start = ["program", ["{task}"]]')
    if values.get("delivery", "paste") not in _DELIVERIES:
        raise HarnessError(f"{where}: delivery must be one of {', '.join(_DELIVERIES)}.")
    for key in ("start", "resume", "version"):
        _check_words(values.get(key, ()), f"{where}: {key}")
    for key in ("ready", *(f"dismiss[{n}].screen" for n in range(len(values.get("dismiss", ()))))):
        _check_pattern(values, key, where)
    return Harness(**values)


def _check_words(words: Any, where: str) -> None:
    if not isinstance(words, list | tuple):
        raise HarnessError(f"{where} must be a list of words; nothing is run by a shell.")
    for word in words:
        if not isinstance(word, str):
            _check_words(word, where)
            continue
        for name in _PLACEHOLDER.findall(word):
            if name not in PLACEHOLDERS:
                raise HarnessError(
                    f"{where}: unknown placeholder {{{name}}}.", hint=f"Known: {', '.join(PLACEHOLDERS)}."
                )


def _check_pattern(values: Mapping[str, Any], key: str, where: str) -> None:
    text = values.get("ready", "") if key == "ready" else values["dismiss"][int(key[8:].partition("]")[0])]["screen"]
    try:
        re.compile(text)
    except (re.error, TypeError) as problem:
        raise HarnessError(f"{where}: {key} is not a regular expression: {problem}.") from problem


def folders(root: Path | None) -> list[Path]:
    """Return where definitions are looked for, first wins; `root` is the project's."""
    own = [root / ".seatrial" / "harnesses"] if root else []
    return [*own, paths.home() / "harnesses", _SHIPPED]


def find(name: str, root: Path | None = None) -> Harness:
    """Return the harness called `name`; HarnessError when there is none, or it is not well written."""
    for folder in folders(root):
        file = folder / f"{name}.toml"
        if re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) and file.is_file():
            return read(file)
    known = ", ".join(sorted({file.stem for folder in folders(root) for file in folder.glob("*.toml")}))
    raise HarnessError(f"There is no harness called {name}.", hint=f"Known: {known}.")


def read(file: Path) -> Harness:
    """Read one file; HarnessError when it is not well written or its name is not the file's."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as problem:
        raise HarnessError(f"{file} cannot be read: {problem}.", path=file) from problem
    harness = from_dict(values, str(file))
    if harness.name != file.stem:
        raise HarnessError(f"{file}: the name is {harness.name}, the file's is {file.stem}.")
    return harness


def all_harnesses(root: Path | None = None) -> list[Harness]:
    """Return every harness that can be named, by name."""
    names = sorted({file.stem for folder in folders(root) for file in folder.glob("*.toml")})
    return [find(name, root) for name in names]


def installed(harness: Harness) -> str:
    """Return where a harness's program is; empty when it is not installed, its own name when it needs none."""
    return (shutil.which(harness.program) or "") if harness.program else harness.name
