"""One agent, decided: every layer laid over the others once, when the agent is made, and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from seatrial.agents import configuration, templates
from seatrial.agents import harness as harnesses
from seatrial.agents.policy import Policy, overlay
from seatrial.agents.project import Project, check_name
from seatrial.agents.runtime.base import RUNTIMES
from seatrial.errors import AgentError, SandboxError

_BUILT_IN = {"template": "default", "harness": "claude-code", "runtime": "bubblewrap", "model": "", "profile": ""}


@dataclass(frozen=True)
class Choices:
    """What the command line says; empty is nothing said."""

    harness: str = ""
    template: str = ""
    profile: str = ""
    runtime: str = ""
    model: str = ""
    base: str = ""
    task: str = ""
    arguments: tuple[str, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)
    keys: bool = True
    replay: str = ""
    parent: str = ""


@dataclass(frozen=True)
class AgentSpec:
    """All that was decided about one agent.  `why` says for each choice which layer made it."""

    name: str
    harness: Mapping[str, Any]
    templates: tuple[str, ...]
    profile: str
    runtime: str
    model: str
    base: str
    task: str
    arguments: tuple[str, ...]
    policy: Mapping[str, Any]
    budget: Mapping[str, float]
    providers: Mapping[str, Mapping[str, Any]]
    services: Mapping[str, Mapping[str, Any]]
    shared: Mapping[str, bool]
    keys: bool
    replay: str
    parent: str
    why: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return the specification ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AgentSpec:
        """Read what `as_dict` gave."""
        known = {entry.name for entry in fields(cls)}
        kept: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**{key: value for key, value in kept.items() if key in known})

    @property
    def rules(self) -> Policy:
        """The policy as an object."""
        return Policy.from_dict(self.policy)

    @property
    def program(self) -> harnesses.Harness:
        """The harness as an object."""
        return harnesses.Harness(**self.harness)


def resolve(project: Project, name: str, choices: Choices) -> AgentSpec:
    """Decide everything about a new agent.

    Raises AgentError (Policy-, Harness-, Template-, SandboxError) for what does not exist or is not allowed.
    """
    check_name(name)
    written = configuration.load(project)
    chosen, why = dict(_BUILT_IN), dict.fromkeys(_BUILT_IN, "built-in")

    def take(values: Mapping[str, Any], where: str) -> None:
        for key in chosen:
            if values.get(key):
                chosen[key], why[key] = values[key], where

    for where, values in written.layers:
        take(values, where)
    profile = choices.profile or chosen["profile"]
    if profile:
        take({**written.profile(profile), "profile": profile}, f"profile {profile}")
    layers = [*written.layers, *((("profile", written.profile(profile)),) if profile else ())]
    chain = templates.chain(choices.template or chosen["template"], project.root)
    _require_trust(project, chain, layers)
    for template in chain:
        take({"harness": template.values.get("default_harness"), "model": template.values.get("model")},
             f"template {template.name}")  # fmt: skip
    take({key: getattr(choices, key) for key in chosen}, "command line")
    if chosen["runtime"] not in RUNTIMES:
        raise SandboxError(f"There is no runtime called {chosen['runtime']}.", hint=f"Known: {', '.join(RUNTIMES)}.")
    layers += [(f"template {template.name}", template.values) for template in chain]
    layers.append(("command line", {"policy": choices.policy, "budget": choices.budget}))
    rules, budget = Policy(), {}
    for where, values in layers:
        rules = overlay(rules, values.get("policy", {}), where)
        budget.update(values.get("budget", {}))
    program = _harness(project, chosen["harness"])
    named = rules.network.providers or ((program.provider,) if program.provider else ())
    shared = _shared(chain, written)
    spec = AgentSpec(
        name=name, harness=program.as_dict(), templates=tuple(t.name for t in chain), profile=profile,
        runtime=chosen["runtime"], model=chosen["model"], base=choices.base,
        task=choices.task or next((t.values["task"] for t in reversed(chain) if t.values.get("task")), ""),
        arguments=choices.arguments, policy=rules.as_dict(), budget=budget,
        providers={name: written.provider(name) for name in named},
        services={k: v for t in chain for k, v in t.values.get("services", {}).items()}, shared=shared,
        keys=choices.keys, replay=choices.replay, parent=choices.parent, why=why,
    )  # fmt: skip
    return _as_child(project, spec) if choices.parent else spec


def _require_trust(project: Project, chain: list[templates.Template], layers: list[configuration.Layer]) -> None:
    for template in chain:
        if template.folder and template.folder.is_relative_to(project.root):
            opening = configuration.loosening(template.values, layers)
            configuration.require_trust(project, f"The template {template.name}", opening)


def _harness(project: Project, name: str) -> harnesses.Harness:
    found = harnesses.find(name, project.root)
    if (project.root / ".seatrial" / "harnesses" / f"{name}.toml").is_file():
        # It names the program whose folder is shown inside, and patterns that are matched outside.
        configuration.require_trust(project, f"The project's harness {name}", ["program"])
    return found


def _as_child(project: Project, spec: AgentSpec) -> AgentSpec:
    """Return the specification of a child: it may touch what its parent may, and start none of its own."""
    parent = AgentSpec.from_dict(project.records.agent(spec.parent).spec)
    rules = replace(parent.rules, spawn=0)
    return replace(spec, policy=rules.as_dict(), providers=parent.providers, keys=parent.keys, runtime=parent.runtime)


def _shared(chain: list[templates.Template], written: configuration.Configuration) -> dict[str, bool]:
    """Return the shared folders of a chain, and whether each is read-only; AgentError for an unknown one."""
    found = {}
    for name in (name for template in chain for name in template.values.get("shared", ())):
        if name not in written.shared:
            raise AgentError(f"There is no shared folder called {name}.", hint=f"[shared.{name}] in agents.toml")
        found[name] = bool(written.shared[name].get("read_only"))
    return found
