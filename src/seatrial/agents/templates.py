"""Templates: what an agent is told and given, whichever coding agent it is.

A template is a folder: `template.toml`, `instructions.md`, `system-prompt.md`, `home/` (files for the home folder) and
`skills/`.  `extends` names the one below; a later template in the chain wins, instructions are joined.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial import paths
from seatrial.agents import configuration
from seatrial.errors import AgentError, TemplateError

_KEYS = ("about", "extends", "default_harness", "model", "task", "policy", "budget", "services", "shared")
_SERVICE = ("command", "restart", "environment", "ready")
_READY = ("tcp", "http", "seconds", "timeout")
_MOST_CHAIN = 8


@dataclass(frozen=True)
class Template:
    """One folder as it was read; `values` are those of template.toml."""

    name: str
    folder: Path | None
    values: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return `instructions.md` or `system-prompt.md`, empty if there is none."""
        file = self.folder / name if self.folder else None
        return file.read_text(encoding="utf-8").strip() if file and file.is_file() else ""

    def part(self, name: str) -> Path | None:
        """Return the folder `home` or `skills` if there is one."""
        place = self.folder / name if self.folder else None
        return place if place and place.is_dir() else None


def folders(root: Path) -> list[Path]:
    """Return where templates are looked for, first wins."""
    return [root / ".seatrial" / "templates", paths.home() / "templates"]


def names(root: Path) -> list[str]:
    """Return the templates that can be named; `default` is always there."""
    found = {file.parent.name for folder in folders(root) for file in folder.glob("*/template.toml")}
    return sorted(found | {"default"})


def chain(name: str, root: Path) -> list[Template]:
    """Return a template and those it extends, the lowest first.

    Raises TemplateError for an unknown name, a circle, a chain of more than eight, or a folder not well written.
    """
    found: list[Template] = []
    while name:
        if name in [template.name for template in found] or len(found) == _MOST_CHAIN:
            raise TemplateError(f"The template {name} extends itself, or a chain of more than {_MOST_CHAIN}.")
        found.append(_find(name, root))
        name = found[-1].values.get("extends", "")
    return found[::-1]


def create(name: str, root: Path, *, extends: str = "") -> Path:
    """Make a template to fill in, in the project; TemplateError when it is there already."""
    _check_name(name)
    folder = root / ".seatrial" / "templates" / name
    if folder.exists():
        raise TemplateError(f"There is a template called {name} already.", path=folder)
    with paths.atomic_folder(folder) as new:
        below = f'extends = "{extends}"\n' if extends else ""
        (new / "template.toml").write_text(f'about = ""\n{below}\n[policy.network]\nhosts = []\n')
        (new / "instructions.md").write_text("")
        (new / "home").mkdir()
        (new / "skills").mkdir()
    return folder


def delete(name: str, root: Path) -> None:
    """Remove a template of the project; TemplateError when it is not the project's."""
    _check_name(name)
    folder = root / ".seatrial" / "templates" / name
    if not folder.is_dir():
        raise TemplateError(f"The project has no template called {name}.", hint="seatrial agent template list")
    shutil.rmtree(folder)


def _find(name: str, root: Path) -> Template:
    _check_name(name)
    for folder in folders(root):
        file = folder / name / "template.toml"
        if file.is_file():
            _refuse_links(folder / name, root)
            return Template(name, folder / name, _read(file))
    if name == "default":
        return Template(name, None)
    raise TemplateError(f"There is no template called {name}.", hint=f"Known: {', '.join(names(root))}.")


def _refuse_links(folder: Path, root: Path) -> None:
    """Refuse what is no file and no folder: a link would show its target inside, or be written through."""
    places = [Path(parent, name) for parent, *named in os.walk(folder) for names_ in named for name in names_]
    if folder.is_relative_to(root):  # the way to the user's own templates may lead over links
        places += [folder, *(place for place in folder.parents if place.is_relative_to(root) and place != root)]
    for place in places:
        if place.is_symlink() or not (place.is_file() or place.is_dir()):
            raise TemplateError(f"{place} is a link, and templates hold none.", hint="Put the file itself there.")


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
        raise TemplateError(f"{name!r} cannot be the name of a template.", hint="Use a-z, 0-9 and -.")


def _read(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as problem:
        raise TemplateError(f"{file} cannot be read: {problem}.", path=file) from problem
    if "harness" in values:
        raise TemplateError(
            f"{file}: a template is for any harness; it cannot name one.", hint='default_harness = "claude-code"'
        )
    try:
        configuration.check_layer(values, str(file), _KEYS)
        for name, service in values.get("services", {}).items():
            _check_service(name, service, str(file))
    except AgentError as problem:
        raise TemplateError(problem.message, hint=problem.hint) from problem
    return values


def _check_service(name: str, service: Mapping[str, Any], where: str) -> None:
    configuration.check_layer(service, f"{where}: services.{name}", _SERVICE)
    configuration.check_layer(service.get("ready", {}), f"{where}: services.{name}.ready", _READY)
    command = service.get("command")
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise TemplateError(f"{where}: services.{name}: command must be a list of words.")
    if service.get("restart", "no") not in ("no", "on-failure", "always"):
        raise TemplateError(f"{where}: services.{name}: restart must be no, on-failure or always.")
