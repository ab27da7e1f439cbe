"""What people write about agents: `agents.toml` of the project and of the user, and the layers that decide.

Later wins: built-in < `agents.toml` in Seatrial's home < the project's `.seatrial/agents.toml` < profile < template,
in its chain < command line.  Unknown keys are refused in each.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial import paths
from seatrial.agents import policy
from seatrial.agents.project import Project
from seatrial.errors import AgentError, PolicyError

BUDGET = ("tokens", "usd", "requests", "seconds")
_TOP = ("defaults", "policy", "budget", "profiles", "providers", "shared")
_LAYER = ("template", "harness", "runtime", "model", "policy", "budget")
_PROVIDER = ("dialect", "base_url", "key", "prices")
_SHARED = ("read_only", "about")
_SHARED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_DIALECTS = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com",
    "gemini": "https://generativelanguage.googleapis.com",
}


Layer = tuple[str, Mapping[str, Any]]
"""Where it was written, and what."""


@dataclass(frozen=True)
class Configuration:
    """All that the files say, the user's first; `layers` are (where, values) in the order in which they are laid."""

    layers: tuple[Layer, ...] = ()
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shared: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def profile(self, name: str) -> Mapping[str, Any]:
        """Return a profile; AgentError when there is none of that name."""
        if name not in self.profiles:
            raise AgentError(
                f"There is no profile called {name}.", hint=f"Known: {', '.join(self.profiles) or 'none'}."
            )
        return self.profiles[name]

    def provider(self, name: str) -> dict[str, Any]:
        """Return `dialect`, `base_url` and `key` (name of the key, or false for none) of a model API.

        Raises AgentError for a name that is neither built in nor written down.
        """
        written = dict(self.providers.get(name, {}))
        dialect = written.get("dialect", name)
        if dialect not in _DIALECTS:
            raise AgentError(
                f"The provider {name} has no dialect.",
                hint=f'[providers.{name}] dialect = "openai", base_url = "http://127.0.0.1:11434"',
            )
        return {"dialect": dialect, "base_url": _DIALECTS[dialect], "key": name, **written}


def load(project: Project) -> Configuration:
    """Read both files.  Raises AgentError and PolicyError, naming the file, for what is not well written.

    A project's own file may open the sandbox (`policy.WIDENING`, limits, budgets, providers' addresses) only when it is
    trusted.
    """
    user, own = paths.home() / "agents.toml", project.root / ".seatrial" / "agents.toml"
    read = [(str(file), _read(file)) for file in (user, own) if file.is_file()]
    layers: list[Layer] = []
    for where, values in read:
        if where == str(own):
            parts = [values, values.get("defaults", {}), *values.get("profiles", {}).values()]
            opening = [name for part in parts for name in loosening(part, layers)]
            require_trust(project, where, opening + [f"providers.{name}" for name in values.get("providers", {})])
        defaults = dict(values.get("defaults", {}))
        layers.append((where, {**defaults, **{k: values[k] for k in ("policy", "budget") if k in values}}))
    together: dict[str, dict[str, Any]] = {"profiles": {}, "providers": {}, "shared": {}}
    for _, values in read:
        for key in together:
            together[key].update(values.get(key, {}))
    return Configuration(tuple(layers), **together)


def loosening(values: Mapping[str, Any], layers: Iterable[Layer]) -> list[str]:
    """Return what in a layer opens the sandbox, or allows more than the `layers` below it do."""
    below, budget = policy.Policy(), {}
    for where, under in layers:
        below = policy.overlay(below, under.get("policy", {}), where)
        budget.update(under.get("budget", {}))
    more = [f"budget.{k}" for k, v in values.get("budget", {}).items() if policy.loosens(v, budget.get(k, 0))]
    return policy.widening(values.get("policy", {}), below) + more


def require_trust(project: Project, where: str, opening: list[str]) -> None:
    """Raise PolicyError when a file of the project opens the sandbox and the user has not agreed.

    A project's files may come from anywhere: the user agrees by `seatrial agent init --trust`, again after each change.
    """
    if opening and not project.is_trusted:
        raise PolicyError(
            f"{where} opens the sandbox ({', '.join(opening)}) and is not trusted.",
            hint="Read it; if you agree: seatrial agent init --trust",
        )


_EXAMPLE = """# What agents of this project are and may do.  docs/agents.md explains every key.

[defaults]
# harness = "claude-code"
# template = "default"

[policy.network]
# hosts = ["preset:pypi", "example.org"]

[policy.files]
# include = [".env"]

[budget]
# usd = 5.0
"""


def write_example(project: Project) -> Path:
    """Write `.seatrial/agents.toml` to fill in, unless there is one, and return where it is."""
    file = project.root / ".seatrial" / "agents.toml"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(_EXAMPLE, encoding="utf-8")
    return file


def check_layer(values: Mapping[str, Any], where: str, known: tuple[str, ...] = _LAYER) -> None:
    """Refuse unknown keys, and a policy or budget that is not well written; AgentError or PolicyError."""
    for key in values:
        if key not in known:
            raise AgentError(f"{where}: unknown key {key}.", hint=f"Known: {', '.join(known)}.")
    policy.Policy.from_dict(values.get("policy", {}), f"{where}: policy")
    check_budget(values.get("budget", {}), where)


def check_budget(values: Mapping[str, Any], where: str) -> None:
    """Refuse what is not a budget; AgentError."""
    for key, value in values.items():
        if key not in BUDGET:
            raise AgentError(f"{where}: unknown budget {key}.", hint=f"Known: {', '.join(BUDGET)}.")
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise AgentError(f"{where}: budget {key} must be a number, not {value!r}.")


def _read(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as problem:
        raise AgentError(f"{file} cannot be read: {problem}.", path=file) from problem
    for key, part in values.items():
        if key not in _TOP or not isinstance(part, dict):
            raise AgentError(f"{file}: unknown section {key}.", hint=f"Known: {', '.join(_TOP)}.")
    check_layer({**values.get("defaults", {}), **{k: values.get(k, {}) for k in ("policy", "budget")}},
                str(file), (*_LAYER, "profile"))  # fmt: skip
    for name, part in values.get("profiles", {}).items():
        check_layer(part, f"{file}: profiles.{name}")
    for section, known in (("providers", _PROVIDER), ("shared", _SHARED)):
        for name, part in values.get(section, {}).items():
            check_layer(part, f"{file}: {section}.{name}", known)
    for name in values.get("shared", {}):
        if not _SHARED_NAME.fullmatch(name):  # it becomes part of a path
            raise AgentError(f"{file}: {name!r} cannot be the name of a shared folder.", hint="Use letters, digits, -.")
    return values
