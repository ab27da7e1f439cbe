"""From what was decided about an agent to what a runtime is asked to run."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.agents.gateway import PLACEHOLDER_KEY
from seatrial.agents.git.workspace import Workspace
from seatrial.agents.harness import Harness
from seatrial.agents.policy import Policy
from seatrial.agents.project import AgentFolder, Project
from seatrial.agents.runtime.plan import GATEWAY_PORT, HOME, OURS, WORKSPACE, Mount, Overlay, SandboxPlan
from seatrial.agents.specification import AgentSpec
from seatrial.errors import HarnessError, PolicyError

GATEWAY = f"http://127.0.0.1:{GATEWAY_PORT}"
OBJECTS = f"{OURS}/objects"
_PATH = f"{OURS}/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"


def placeholders(spec: AgentSpec, system_prompt: str = "") -> dict[str, str]:
    """Return what the words of a harness may stand for."""
    return {
        "task": spec.task,
        "model": spec.model,
        "name": spec.name,
        "gateway": GATEWAY,
        "port": str(GATEWAY_PORT),
        "key": PLACEHOLDER_KEY,
        "key_tail": PLACEHOLDER_KEY[-20:],
        "home": HOME,
        "workspace": WORKSPACE,
        "system_prompt": system_prompt,
    }


def environment(spec: AgentSpec, harness: Harness, rules: Policy) -> dict[str, str]:
    """Return all variables inside; nothing of the user's environment but what the policy takes by name.

    Raises PolicyError when a variable that the policy requires is empty.
    """
    values = {
        "PATH": _PATH,
        "HOME": HOME,
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "TMPDIR": "/tmp",
        "SEATRIAL_AGENT": spec.name,
        "SEATRIAL_CONTROL": f"{OURS}/control.sock",
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "NODE_USE_ENV_PROXY": "1",
    }
    values |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), GATEWAY)
    values["no_proxy"] = values["NO_PROXY"]
    known = placeholders(spec)
    values |= {name: filled for name, text in harness.environment.items() if (filled := harness.fill(text, known))}
    values |= {name: os.environ[name] for name in rules.environment.take if name in os.environ}
    values |= rules.environment.set
    missing = sorted(name for name in rules.environment.require if not values.get(name))
    if missing:
        raise PolicyError(
            f"These variables must not be empty: {', '.join(missing)}.", hint="--env NAME=VALUE, or environment.set."
        )
    return values


def sandbox_plan(
    project: Project,
    spec: AgentSpec,
    workspace: Mapping[str, Any],
    *,
    resume: bool = False,
    seconds: int = 0,
    once: bool = False,
) -> SandboxPlan:
    """Return the plan of an agent's sandbox; `once` is for a command beside it while it is stopped.

    Raises HarnessError when the harness's program is not installed.
    """
    folder, rules, harness = project.agent(spec.name), spec.rules, spec.program
    prompt = _text(folder.ours / "system-prompt.md")
    command = harness.command(placeholders(spec, prompt), spec.arguments, resume=resume)
    mounts = _mounts(project, folder, spec, workspace)
    if harness.program and not once:
        command[0], more = program_place(harness)
        mounts += more
    layers: tuple[Overlay, ...] = ()
    if workspace.get("lower"):
        layers = (Overlay(Path(workspace["lower"]), Path(workspace["upper"]), Path(workspace["work"])),)
    return SandboxPlan(
        identity=identity(folder) + ("-once" if once else ""),
        hostname=spec.name,
        folder=folder.path / "launch-once" if once else folder.launch,
        policy=rules,
        mounts=tuple(mounts),
        environment=environment(spec, harness, rules),
        command=tuple(command),
        overlays=layers,
        owner=project.owner,
        seconds=seconds,
    )


def identity(folder: AgentFolder) -> str:
    """Return a name for the sandbox that is unique on this machine."""
    return hashlib.sha256(str(folder.path).encode()).hexdigest()[:16]


def program_place(harness: Harness) -> tuple[str, list[Mount]]:
    """Return the absolute path of a harness's program, and the mounts that show it; HarnessError if there is none."""
    found = shutil.which(harness.program)
    if found is None:
        raise HarnessError(
            f"{harness.about or harness.name}: the program {harness.program} is not in PATH.",
            hint=f"Install it (docs/agents.md lists the packages), or name another harness than {harness.name}.",
        )
    places = [Path(found).absolute(), Path(found).resolve()]
    mounts = {place: Mount(place, str(place)) for path in places if (place := _package(path))}
    return found, list(mounts.values())


def _package(program: Path) -> Path | None:
    """Return the folder that must be seen for a program to run: of an npm package, all that lies beside it."""
    if program.is_relative_to("/usr") or program.is_relative_to("/bin"):
        return None
    for folder in reversed(program.parents):
        if folder.name == "node_modules":
            return folder
    return program.parent


def _mounts(project: Project, folder: AgentFolder, spec: AgentSpec, workspace: Mapping[str, Any]) -> list[Mount]:
    mounts = [Mount(folder.home, HOME, "write"), Mount(folder.ours, OURS)]
    if workspace.get("root"):
        mounts.append(Mount(Path(workspace["root"]), WORKSPACE, "write"))
    shown = [*workspace.get("borrowed", ()), *workspace.get("read_only", ())]
    mounts += [Mount(Path(source), target) for source, target in shown]
    for name, read_only in spec.shared.items():
        mounts.append(Mount(shared_folder(project, name), f"/shared/{name}", "read" if read_only else "write"))
    files = spec.rules.files
    for paths, kind in ((files.read, "read"), (files.write, "write"), (files.caches, "cache")):
        for path in paths:
            source = Path(path).expanduser()
            if source.exists():
                target = path.replace("~", HOME, 1) if kind == "cache" and path.startswith("~/") else str(source)
                mounts.append(Mount(source.resolve(), target, kind))  # type: ignore[arg-type]
    return mounts


def shared_folder(project: Project, name: str) -> Path:
    """Return a folder that agents of a project share, making it if it is not there."""
    folder = project.folder / "shared" / name
    if not folder.is_dir():
        folder.mkdir(parents=True)
        if project.owner is not None:
            os.chown(folder, project.owner, project.owner)
    return folder


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def workspace_record(workspace: Workspace) -> dict[str, Any]:
    """Return a workspace ready for JSON, as `sandbox_plan` reads it."""
    return {
        "branch": workspace.branch,
        "base": workspace.base,
        **{name: str(getattr(workspace, name) or "") for name in ("root", "lower", "upper", "work")},
        "borrowed": [[str(source), target] for source, target in workspace.borrowed],
        "read_only": [[str(source), target] for source, target in workspace.read_only],
        "notes": list(workspace.notes),
    }
