"""Making an agent: its clone, its home, what it is told.  Nothing of it runs yet."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.agents import place, templates
from seatrial.agents.git import relay as relays
from seatrial.agents.git.inside import printable
from seatrial.agents.git.source import find_source
from seatrial.agents.git.workspace import create_workspace, prepare_checkout, release_base
from seatrial.agents.project import AgentFolder, Project
from seatrial.agents.runtime import open_runtime
from seatrial.agents.runtime.plan import OURS
from seatrial.agents.specification import AgentSpec
from seatrial.errors import AgentError, SeatrialError

_HERE = Path(__file__).parent
_COMMANDS = {"seatrial-agent": _HERE / "inside" / "agent_command.py", "seatrial-mini": _HERE / "scripted" / "agent.py"}
_MOUNT_POINTS = ("objects",)


def provision(project: Project, spec: AgentSpec) -> dict[str, Any]:
    """Make agent `spec` and return its workspace as it is recorded.

    The agent is written down first, as `provisioning`; what a killed process leaves is removed by `reconcile`.  When
    anything fails, everything is taken back; raises AgentError or what the part that failed raises.
    """
    project.records.add_agent(spec.name, spec.as_dict())
    try:
        if spec.program.program:
            place.program_place(spec.program)
        open_runtime(spec.runtime)
        place.environment(spec, spec.program, spec.rules)
        workspace = _make(project, spec)
        project.records.update_agent(spec.name, phase="created", workspace=workspace)
        project.records.add_event(spec.name, "created", base=workspace["base"], branch=workspace["branch"])
    except BaseException as problem:
        take_back(project, spec.name)
        if isinstance(problem, OSError):
            raise AgentError(
                f"The agent {spec.name} could not be made: {problem.strerror or problem}.", hint="Free some disk space."
            ) from problem
        raise
    return workspace


def prepare(project: Project) -> bool:
    """Do now what the first agent of a big repository would wait for; returns whether there was anything to do.

    Raises ProjectError when there is no commit yet.
    """
    return prepare_checkout(project.root, project.folder / "base", project.owner)


def take_back(project: Project, name: str) -> None:
    """Remove all that was made of an agent that never ran."""
    remove_files(project, name)
    project.records.remove_agent(name)


def remove_files(project: Project, name: str) -> None:
    """Remove an agent's folder and what the repositories hold for it; what is gone already is no error."""
    folder = project.agent(name).path
    doomed = folder.with_name(f".{name}.deleted.{os.getpid()}")
    if folder.exists():
        folder.rename(doomed)
    for left in folder.parent.glob(f".{name}.deleted.*"):
        _remove_tree(left)
    with contextlib.suppress(SeatrialError):
        relays.forget(_relay(project), name)
    with contextlib.suppress(SeatrialError):
        release_base(find_source(project.root), name)


def _remove_tree(folder: Path) -> None:
    """Remove what an agent wrote.  Not by Python: folders may lie deeper than it can call itself."""
    if subprocess.run(["rm", "-rf", "--", folder], stderr=subprocess.DEVNULL).returncode:
        # An agent may have taken away its own right to write in a folder.
        subprocess.run(["chmod", "-R", "u+rwX", "--", folder], stderr=subprocess.DEVNULL)
        done = subprocess.run(["rm", "-rf", "--", folder], capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise AgentError(f"{folder} could not be removed: {printable(done.stderr, limit=300)}.")


def _relay(project: Project) -> relays.Relay:
    return relays.open_relay(project.relay, find_source(project.root))


def _make(project: Project, spec: AgentSpec) -> dict[str, Any]:
    folder = project.agent(spec.name)
    shutil.rmtree(folder.path, ignore_errors=True)  # of a process that was killed
    folder.path.mkdir(mode=0o700, parents=True)
    made = create_workspace(
        project.root,
        folder.workspace,
        name=spec.name,
        base=spec.base or None,
        owner=project.owner,
        objects_inside=place.OBJECTS,
        cache=project.folder / "base",
    )
    relays.register(_relay(project), spec.name, made.base)
    workspace = place.workspace_record(made)
    chain = [templates.chain(name, project.root)[-1] for name in spec.templates]
    _write_ours(folder, spec, chain, workspace)
    _write_home(folder, spec, chain)
    _include(project, spec, Path(workspace["root"] or workspace["upper"]))
    _own(folder, project.owner)
    for command in made.first_commands:
        plan = place.sandbox_plan(project, spec, workspace, once=True)
        done = open_runtime(spec.runtime).run_once(plan, command)
        if done.returncode:
            raise AgentError(f"The workspace could not be made: {done.stderr.decode(errors='replace')[:300]}.")
    return workspace


def _write_ours(
    folder: AgentFolder, spec: AgentSpec, chain: list[templates.Template], workspace: Mapping[str, Any]
) -> None:
    (folder.ours / "bin").mkdir(parents=True)
    shown = [target for _, target in (*workspace["borrowed"], *workspace["read_only"])]
    for target in (*_MOUNT_POINTS, *(t.removeprefix(f"{OURS}/") for t in shown if t.startswith(f"{OURS}/"))):
        (folder.ours / target).mkdir(parents=True, exist_ok=True)
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    # An image has a Python of its own, or none: then agents in it have no `seatrial-agent`.
    interpreter = "/usr/bin/env -S python3" if spec.rules.files.root else str(python)
    for name, source in _COMMANDS.items():
        target = folder.ours / "bin" / name
        text = source.read_text(encoding="utf-8")
        target.write_text(f"#!{interpreter} -I\n" + text.split("\n", 1)[1], encoding="utf-8")
        target.chmod(0o755)
    prompt = "\n\n".join(text for template in chain if (text := template.text("system-prompt.md")))
    (folder.ours / "system-prompt.md").write_text(prompt, encoding="utf-8")
    for place_ in (folder.ours, *folder.ours.rglob("*")):
        place_.chmod(0o755 if place_.is_dir() or place_.parent.name == "bin" else 0o644)


def _write_home(folder: AgentFolder, spec: AgentSpec, chain: list[templates.Template]) -> None:
    folder.home.mkdir()
    harness, known = spec.program, place.placeholders(spec)
    for name, text in harness.files.items():
        _write_below(folder.home, name, harness.fill(text.lstrip("\n"), known))
    for template in chain:
        if home := template.part("home"):
            shutil.copytree(home, folder.home, symlinks=True, dirs_exist_ok=True)
        if harness.skills and (skills := template.part("skills")):
            shutil.copytree(skills, _below(folder.home, harness.skills), symlinks=True, dirs_exist_ok=True)
    told = [text for template in chain if (text := template.text("instructions.md"))]
    told.append((_HERE / "inside" / "instructions.md").read_text(encoding="utf-8").strip())
    if harness.instructions:
        _write_below(folder.home, harness.instructions, "\n\n".join(told) + "\n")


def _write_below(base: Path, name: str, text: str) -> None:
    target = _below(base, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def _below(base: Path, name: str | Path) -> Path:
    """Return the place `name` in `base`; AgentError when it is not there, links followed."""
    target = base / name
    if ".." in target.parts or not target.resolve().is_relative_to(base.resolve()):
        raise AgentError(f"{name} is not a path below {base.name}.")
    return target


def _include(project: Project, spec: AgentSpec, target: Path) -> None:
    """Copy the files that git does not track but the work needs; links and what leads out of the project are not."""
    for pattern in spec.rules.files.include:
        if pattern.startswith("/") or ".." in Path(pattern).parts:
            raise AgentError(f"files.include: {pattern} leads out of the project.")
        for source in project.root.glob(pattern):
            relative = source.relative_to(project.root)
            if source.is_symlink() or not source.is_file() or ".git" in relative.parts:
                continue
            if not source.resolve().is_relative_to(project.root.resolve()):
                continue
            copy = _below(target, relative)  # the commit may have a link where the user's files have a folder
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            _give(copy, project.owner)


def _own(folder: AgentFolder, owner: int | None) -> None:
    if owner is not None:
        for place_ in (folder.home, *folder.home.rglob("*")):
            _give(place_, owner)


def _give(place_: Path, owner: int | None) -> None:
    if owner is not None:
        os.chown(place_, owner, owner, follow_symlinks=False)
