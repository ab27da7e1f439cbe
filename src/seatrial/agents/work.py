"""What agents have done: collected from their sandboxes, compared, previewed, merged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, BinaryIO

from seatrial.agents import place
from seatrial.agents.git import diffs, landing, merge, provenance, relay
from seatrial.agents.git.source import Source, find_source
from seatrial.agents.git.workspace import hold_base
from seatrial.agents.project import Project
from seatrial.agents.runtime.base import Completed, open_runtime
from seatrial.agents.runtime.capture import Joined, captured
from seatrial.agents.sandbox import enter
from seatrial.agents.specification import AgentSpec
from seatrial.errors import AgentError, RelayError, SandboxError

_MOST_BYTES, _SECONDS = 64 << 20, 600.0


class Within:
    """Runs commands of this side in an agent's sandbox, as the agent: in the one that runs, else in one like it."""

    def __init__(self, project: Project, name: str) -> None:
        record = project.records.agent(name)
        self._spec = AgentSpec.from_dict(record.spec)
        self._runtime = open_runtime(self._spec.runtime)
        running = place.sandbox_plan(project, self._spec, record.workspace)
        self._who = self._runtime.inhabitant(running) if self._runtime.state(running).running else None
        self._plan = place.sandbox_plan(project, self._spec, record.workspace, once=True)

    def __call__(self, argv: Sequence[str], stdin: bytes | None = None, /) -> Completed:
        """Run to the end; SandboxError past 64 MiB or ten minutes."""
        return self._run(argv, stdin or b"", None, _MOST_BYTES)

    def to_file(self, argv: Sequence[str], output: BinaryIO, limit: int, /) -> int:
        """Write standard output to a file; RelayError past `limit` bytes."""
        try:
            return self._run(argv, b"", output, limit).returncode
        except SandboxError as problem:
            raise RelayError(problem.message) from problem

    def _run(self, argv: Sequence[str], stdin: bytes, into: BinaryIO | None, most: int) -> Completed:
        if self._who is None:
            return self._runtime.run_once(self._plan, argv, stdin, into, most, _SECONDS)
        return captured(self.joined(argv), stdin, into, most, _SECONDS)

    def joined(self, argv: Sequence[str]) -> Joined:
        """Start a command in the sandbox that runs, with pipes; SandboxError when it does not run."""
        if self._who is None:
            raise SandboxError("The agent does not run.")
        ends = [os.pipe() for _ in range(3)]
        theirs = (ends[0][0], ends[1][1], ends[2][1])
        ours = (ends[0][1], ends[1][0], ends[2][0])
        for descriptor in ours:
            os.set_inheritable(descriptor, False)
        pid = enter.run_inside(
            self._who, argv, environment=self._plan.environment, folder=self._plan.folder_inside, streams=theirs
        )
        for descriptor in theirs:
            os.close(descriptor)
        return Joined(pid, *ours)

    def attached(self, argv: Sequence[str]) -> int:
        """Run a command on the caller's own standard streams and return its exit code."""
        if self._who is None:
            done = self._runtime.run_once(self._plan, argv, b"", None, _MOST_BYTES, _SECONDS)
            os.write(1, done.stdout)
            os.write(2, done.stderr)
            return done.returncode
        pid = enter.run_inside(
            self._who, argv, environment=self._plan.environment, folder=self._plan.folder_inside, session=False
        )
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _relay(project: Project) -> tuple[relay.Relay, Source]:
    source = find_source(project.root)
    return relay.open_relay(project.relay, source), source


def collect(project: Project, name: str) -> relay.Collected:
    """Bring an agent's work into the relay; RelayError when what it hands over is not accepted."""
    if not project.records.agent(name).workspace:
        raise AgentError(f"The agent {name} has no workspace.")
    within = Within(project, name)
    return relay.collect(_relay(project)[0], name, within, within.to_file)


def diff(project: Project, name: str) -> diffs.Diff:
    """Return what an agent changed since it parted from the branch that is checked out, what is not committed too."""
    collect(project, name)
    taken, source = _relay(project)
    return diffs.diff(taken, name, target=source.commit("HEAD"))


def plan_merge(project: Project, name: str, **how: Any) -> merge.MergePlan:
    """Plan landing an agent's work (`git.merge.plan_merge` says what `how` may be); nothing moves."""
    collect(project, name)
    record = project.records.agent(name)
    taken, source = _relay(project)
    return merge.plan_merge(taken, source, name, harness=record.spec["harness"]["name"], run=str(record.run), **how)


def execute_merge(project: Project, plan: merge.MergePlan) -> landing.Landing:
    """Do what a plan says, and nothing else; MergeConflictError or GitError when it cannot be done any more."""
    taken, source = _relay(project)
    landed = landing.execute_merge(plan, taken, source)
    project.records.add_event(plan.agent, "merged", plan=plan.hash, into=landed.into, old=landed.old, new=landed.new)
    return landed


def preview_between(project: Project, names: Sequence[str]) -> tuple[merge.Preview, ...]:
    """Return which agents' work does not go together."""
    for name in names:
        collect(project, name)
    return merge.preview_between(_relay(project)[0], list(names))


def unmerged(project: Project, name: str) -> provenance.Unmerged:
    """Return what would be lost with an agent."""
    if not project.agent(name).workspace.exists():
        return provenance.Unmerged((), ())
    collect(project, name)
    return provenance.unmerged(*_relay(project), name)


def publish(project: Project, name: str) -> str:
    """Show an agent's commits as the branch `seatrial/NAME` of the user's repository; returns its commit."""
    collect(project, name)
    return landing.publish_branch(*_relay(project), name)


def take_over(project: Project, old: str, new: str, spec: AgentSpec, workspace: dict[str, Any]) -> None:
    """Give a copied workspace its own branch, and tell the relay of it; AgentError when git inside refuses."""
    taken, source = _relay(project)
    relay.register(taken, new, workspace["base"])
    hold_base(source, new, workspace["base"])
    plan = place.sandbox_plan(project, spec, workspace, once=True)
    runtime = open_runtime(spec.runtime)
    for command in (["git", "checkout", "-q", "-B", f"seatrial/{new}"], ["git", "config", "user.name", new]):
        done = runtime.run_once(plan, command)
        if done.returncode:
            raise AgentError(f"git refuses in the copy of {old}: {done.stderr.decode(errors='replace').strip()[:200]}.")


def reconcile(project: Project) -> list[str]:
    """Finish or undo a merge whose process was killed; returns what was found."""
    if not project.relay.is_dir():
        return []
    found = landing.recover_landing(*_relay(project))
    return [found] if found else []
