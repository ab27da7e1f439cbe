"""The life of agents: made, started, stopped, resumed, forked, deleted, and put right after anything was killed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from seatrial.agents import mailbox, nursery, place, provision, work
from seatrial.agents.project import Project, all_projects, check_name
from seatrial.agents.records import AgentRecord
from seatrial.agents.runtime.base import open_runtime
from seatrial.agents.specification import AgentSpec, Choices, resolve
from seatrial.agents.terminal import Terminal
from seatrial.errors import AgentError, SeatrialError, UnmergedWorkError

_STOP_SECONDS, _POKE_SECONDS, _PAUSE_SECONDS = 20.0, 0.5, 10.0
_ALIVE = ("starting", "running", "stopping")


def create(project: Project, name: str, choices: Choices) -> AgentRecord:
    """Make an agent and start nothing.  Raises AgentError when the name is taken, or why it cannot be made."""
    spec = resolve(project, name, choices)
    with _held(project, name):
        provision.provision(project, spec)
    return project.records.agent(name)


def start(project: Project, name: str, choices: Choices) -> AgentRecord:
    """Make the agent if it is new, and start it; one that runs already is returned as it is.

    With a task, one that runs already is refused: `message` is the way to give it more.  Raises AgentError and why.
    """
    check_name(name)
    known = [agent for agent in project.records.agents() if agent.name == name]
    if not known:
        create(project, name, choices)
    elif known[0].phase in _ALIVE:
        if choices.task:
            raise AgentError(f"The agent {name} runs already.", hint=f"seatrial agent message {name} TEXT")
        return known[0]
    elif known[0].run:
        return resume(project, name, choices.task)
    _launch(project, name, "start")
    return project.records.agent(name)


def resume(project: Project, name: str, task: str = "") -> AgentRecord:
    """Start an agent again: same workspace, home and conversation; `task` is given to it at once.

    Raises AgentError when it runs already, and why it cannot be started.
    """
    record = project.records.agent(name)
    if record.phase in _ALIVE:
        raise AgentError(f"The agent {name} runs already.", hint=f"seatrial agent message {name} TEXT")
    if record.phase not in ("created", "stopped", "error"):
        raise AgentError(f"The agent {name} is {record.phase}.", hint="Try again in a moment.")
    spec = replace(AgentSpec.from_dict(record.spec), task=task if record.run else task or record.spec["task"])
    project.records.update_agent(name, spec=spec.as_dict())
    _launch(project, name, "resume" if record.run else "start")
    return project.records.agent(name)


def stop(project: Project, name: str) -> AgentRecord:
    """Stop an agent: what runs is asked to end, then ended.  One that does not run is left as it is.

    Raises AgentError when it does not end within twenty seconds.
    """
    record = project.records.agent(name)
    if record.phase not in _ALIVE:
        return record
    end, again = time.monotonic() + _STOP_SECONDS, 0.0
    while (record := project.records.agent(name)).phase in _ALIVE and time.monotonic() < end:
        if not is_held(project, name):
            reconcile(project)
        if time.monotonic() > again:  # repeated: the supervisor may just have begun
            again = time.monotonic() + _POKE_SECONDS
            mailbox.poke(project, name, b"stop")
        time.sleep(0.01)
    if record.phase in _ALIVE:
        raise AgentError(f"The agent {name} does not stop.", hint=f"seatrial agent show {name}")
    return record


def delete(project: Project, name: str, *, discard: bool = False) -> None:
    """Delete an agent with all that is its own; its branch in the relay, events and messages stay.

    Raises UnmergedWorkError while it has work that the user's repository has not, unless `discard`.
    """
    record = project.records.agent(name)
    if record.phase in _ALIVE:
        stop(project, name)
    if not discard and record.phase != "deleting":
        lost = work.unmerged(project, name)
        if lost:
            raise UnmergedWorkError(
                f"The agent {name} has work that is not merged: {len(lost.commits)} commits, {len(lost.files)} files.",
                hint=f"seatrial agent merge {name}, or seatrial agent delete {name} --discard-work",
            )
    with _held(project, name):
        project.records.note(name, "deleting", {}, phase="deleting", activity="")
        _finish_deleting(project, name)


def _finish_deleting(project: Project, name: str) -> None:
    with suppress(SeatrialError):
        record = project.records.agent(name)
        runtime, spec = open_runtime(record.spec["runtime"]), AgentSpec.from_dict(record.spec)
        for once in (False, True):
            plan = place.sandbox_plan(project, spec, record.workspace, once=once)
            runtime.kill(plan)
            runtime.remove(plan)
    Terminal(project.agent(name).socket("tmux")).close()
    project.agent(name).socket("poke").unlink(missing_ok=True)
    provision.remove_files(project, name)
    project.records.remove_agent(name)


def fork(project: Project, name: str, new: str) -> AgentRecord:
    """Make agent `new` of a copy of `name`: workspace, home, conversation.  A running one is paused meanwhile.

    The copy's branch is `seatrial/NEW` from where the other one is.  Raises AgentError when it cannot be made.
    """
    record = project.records.agent(name)
    spec = replace(AgentSpec.from_dict(record.spec), name=check_name(new), task="")
    old, folder = project.agent(name), project.agent(new)
    with _held(project, new), _paused(project, record):
        project.records.add_agent(new, spec.as_dict())
        try:
            shutil.rmtree(folder.path, ignore_errors=True)
            folder.path.mkdir(mode=0o700, parents=True)
            copy = ["cp", "-a", "--reflink=auto", "--", *(str(p) for p in (old.home, old.workspace, old.ours))]
            done = subprocess.run([*copy, str(folder.path)], capture_output=True, text=True)
            if done.returncode:
                raise AgentError(f"The copy of {name} failed: {done.stderr.strip()[:300]}.")
            moved = {key: _moved(value, old.path, folder.path) for key, value in record.workspace.items()}
            moved["branch"] = f"seatrial/{new}"
            work.take_over(project, name, new, spec, moved)
            # A run number above zero makes the next start go on with the conversation.
            project.records.update_agent(new, phase="stopped", workspace=moved, run=record.run)
        except BaseException:
            provision.take_back(project, new)
            raise
    project.records.add_event(new, "forked", of=name)
    return project.records.agent(new)


def _moved(value: Any, old: Path, new: Path) -> Any:
    return value.replace(str(old), str(new), 1) if isinstance(value, str) else value


def set_budget(project: Project, name: str, budget: dict[str, float]) -> None:
    """Change the limits of an agent; those of its family hold together.  0 is no limit; AgentError for other names."""
    from seatrial.agents import configuration

    configuration.check_budget(budget, "budget")
    record = project.records.agent(project.records.family(name)[0])
    project.records.update_agent(record.name, spec={**record.spec, "budget": {**record.spec["budget"], **budget}})
    for member in project.records.family(name):
        mailbox.poke(project, member, b"budget")


def wait(project: Project, name: str, for_: tuple[str, ...], seconds: float) -> AgentRecord:
    """Wait until an agent is `idle`, `done`, `asks`, `stopped` or what else its state is called.

    Raises AgentError after `seconds`, or when it does not run and what was waited for can no more come.
    """
    wanted = {activity for name_ in for_ for activity in _WAITS.get(name_, (name_,))}
    end = time.monotonic() + seconds
    while True:
        record = project.records.agent(name)
        if record.activity in wanted or record.phase in wanted:
            return record
        if record.phase in ("created", "stopped", "error"):
            raise AgentError(
                f"The agent {name} is {record.phase}{record.detail and ': ' + record.detail}.", phase=record.phase
            )
        if time.monotonic() > end:
            raise AgentError(f"The agent {name} is {record.activity or record.phase} after {seconds:.0f} seconds.")
        if record.phase in _ALIVE and not is_held(project, name):
            reconcile(project)
        time.sleep(0.02)


_WAITS = {
    "idle": ("idle", "completed", "waiting_for_input"),
    "done": ("completed",),
    "asks": ("waiting_for_input",),
    "stopped": ("stopped", "error"),
}


def reconcile(project: Project) -> list[str]:
    """Put right what killed processes left, and return what was found, one sentence each."""
    found = []
    for record in project.records.agents():
        if record.phase in ("created", "stopped", "error") or is_held(project, record.name):
            continue
        with suppress(BlockingIOError), _held(project, record.name, wait=False):
            # Read again: its process may have finished between the two looks.
            record = next((a for a in project.records.agents() if a.name == record.name), record)
            what = _put_right(project, record)
            if what:
                found.append(what)
                project.records.add_event(record.name, "found", what=what)
        if project.records.rows("SELECT 1 FROM agents WHERE name = ? AND phase = 'running'", record.name):
            with suppress(SeatrialError):
                _launch(project, record.name, "adopt")
    return found + work.reconcile(project)


def _put_right(project: Project, record: AgentRecord) -> str:
    name, update = record.name, project.records.update_agent
    if record.phase == "provisioning":
        provision.take_back(project, name)
        return f"{name} was being made when its process ended; what was left of it is removed."
    if record.phase == "deleting":
        _finish_deleting(project, name)
        return f"{name} was being deleted when the process ended; it is deleted now."
    if record.phase not in _ALIVE:
        return ""
    runtime = open_runtime(record.spec["runtime"])
    plan = place.sandbox_plan(project, AgentSpec.from_dict(record.spec), record.workspace)
    state = runtime.state(plan)
    if record.phase == "running" and state.running:
        return f"The supervisor of {name} was gone while its sandbox ran; another one has taken over."
    terminal = Terminal(project.agent(name).socket("tmux"))
    if terminal.is_open():
        (project.agent(name).path / "screen.txt").write_text(terminal.screen(history=2000))
    runtime.kill(plan)
    terminal.close()
    runtime.remove(plan)
    used = record.seconds + max(0.0, min(time.time(), _last_sign(project, record)) - record.started)
    if record.phase == "stopping":
        update(name, phase="stopped", activity="", detail="it was stopped", seconds=used)
        return f"{name} was being stopped when its supervisor ended; it is stopped now."
    phase = "error" if record.phase == "starting" else "stopped"
    update(name, phase=phase, activity="", detail="its supervisor and sandbox were gone", seconds=used)
    return f"The supervisor and the sandbox of {name} were gone; its work is kept: seatrial agent resume {name}"


def _last_sign(project: Project, record: AgentRecord) -> float:
    """Return when the agent was last known to live (Unix): the clock may have stood still, or jumped, since."""
    try:
        return project.agent(record.name).log.stat().st_mtime
    except OSError:
        return record.started


@contextmanager
def _held(project: Project, name: str, *, wait: bool = True) -> Iterator[None]:
    """Hold an agent against its supervisor and other commands; BlockingIOError when it is held and not `wait`."""
    lock = project.lock(name)
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def is_held(project: Project, name: str) -> bool:
    """Whether a supervisor, or a command that works on the agent, lives."""
    with project.lock(name).open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def _paused(project: Project, record: AgentRecord) -> Iterator[None]:
    stopped: set[int] = set()
    try:
        if record.phase == "running":
            runtime = open_runtime(record.spec["runtime"])
            plan = place.sandbox_plan(project, AgentSpec.from_dict(record.spec), record.workspace)
            # One that forks meanwhile must not change folders into links while they are copied.
            end = time.monotonic() + _PAUSE_SECONDS
            while fresh := set(runtime.pids(plan)) - stopped:
                if time.monotonic() > end:
                    raise AgentError(f"The agent {record.name} cannot be paused.", hint="Stop it, then fork it.")
                _signal_all(fresh, signal.SIGSTOP)
                stopped |= fresh
        yield
    finally:
        _signal_all(stopped, signal.SIGCONT)


def _signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _launch(project: Project, name: str, how: str) -> None:
    """Start a supervisor and wait for its report; raises what it reports."""
    reader, writer = os.pipe()
    log = project.agent(name).path / "supervisor.log"
    with log.open("ab") as errors:
        nursery.start_supervisor((str(project.folder), name, how), errors.fileno(), writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.readline()
    if not said:
        words_ = log.read_text(errors="replace").strip().splitlines()
        raise AgentError(f"The supervisor of {name} ended: {words_[-1] if words_ else 'no reason given'}.", log=log)
    problem = json.loads(said)["error"]
    if problem:
        raise AgentError(problem["message"], hint=problem["hint"])


def projects_with_agents() -> list[tuple[Project, list[AgentRecord]]]:
    """Return every project of this machine that has agents, with them."""
    return [(project, agents) for project in all_projects() if (agents := project.records.agents())]
