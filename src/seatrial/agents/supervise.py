"""The supervisor: one process for each agent that runs, outside of the sandbox, started detached.

It owns the sandbox, the gateway, the terminal and the records of its agent.  It may be killed at any line: the sandbox
goes on without a way out, and the next command starts another supervisor, which takes it over.

    python -m seatrial.agents.supervise PROJECT_FOLDER NAME start|resume|adopt DESCRIPTOR
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from seatrial.agents import mailbox, place, states
from seatrial.agents.control import Control
from seatrial.agents.delivery import Delivery
from seatrial.agents.egress import RecordedLedger, gateway_for
from seatrial.agents.project import Project, check_name
from seatrial.agents.runtime.base import open_runtime
from seatrial.agents.runtime.plan import GATEWAY_PORT, SandboxPlan
from seatrial.agents.sandbox import enter
from seatrial.agents.services import Services
from seatrial.agents.specification import AgentSpec
from seatrial.agents.terminal import Terminal, last_words
from seatrial.agents.watchdog import DiskWatch, quiet_seconds
from seatrial.errors import AgentError, SandboxError, SeatrialError

_START_SECONDS, _GRACE_SECONDS, _TICK_SECONDS, _FIRST_CALL_SECONDS = 30.0, 5.0, 1.0, 30.0
_EARLY_SECONDS = 0.06
_SET_DUMPABLE = 4
_NOT_NOTED = ("first_byte",)


class Supervisor:
    """One agent's life from the start of its sandbox to the end of it."""

    def __init__(self, project: Project, name: str) -> None:
        self.project, self.name = project, name
        self.records, self.folder = project.records, project.agent(name)
        record = self.records.agent(name)
        self.spec = AgentSpec.from_dict(record.spec)
        self.harness, self.runtime = self.spec.program, open_runtime(self.spec.runtime)
        self.terminal = Terminal(self.folder.socket("tmux"))
        self.state = states.begin("running")
        self._last_seen = time.time()
        self._stopping = ""
        self._wake, self._spawning = asyncio.Event(), asyncio.Lock()
        self._control = Control(project, name, self.see, self._spawn)
        self._delivery = Delivery(project, name, self.harness, self.terminal)
        self._ledger = RecordedLedger(self.records, name)
        self._gateway = gateway_for(self.spec, self.folder, record.run, self._ledger, self.see)
        self._services: Services | None = None
        self._mail = self._listen_for_pokes()

    async def start(self, *, resume: bool) -> None:
        """Make the sandbox, put the gateway into it, let the harness begin; SeatrialError when it does not."""
        record = self.records.agent(self.name)
        left = self._seconds_left(record.seconds)
        plan = place.sandbox_plan(self.project, self.spec, record.workspace, resume=resume, seconds=left)
        self.records.update_agent(
            self.name, phase="starting", activity="", detail="", run=record.run + 1, started=time.time()
        )
        await self._control.serve(self.folder.ours / "control.sock")
        command = self.runtime.prepare(plan)
        self.terminal.start(command, title=f"{self.project.root.name}/{self.name}", log=self.folder.log)
        who = self.runtime.await_ready(plan, _START_SECONDS, self.terminal.ended)
        await self._gateway.serve(enter.listener_inside(who, GATEWAY_PORT))
        if self.spec.services:
            log = self.folder.path / "services.log"
            self._services = Services(
                self.spec.services, who, plan.environment, plan.folder_inside, log, lambda kind, f: self.see(kind, f)
            )
            self._services.start()
        self.runtime.release(plan)
        by_command = self.harness.takes_task(resume=resume)
        if self.spec.task and not by_command:
            mailbox.send(self.project, mailbox.USER, self.name, self.spec.task)
        self._begin(prompted=bool(self.spec.task and self.harness.provider and by_command))
        await asyncio.sleep(_EARLY_SECONDS)
        if (words := self.terminal.ended()) is not None:
            self._end(plan)
            raise AgentError(
                f"The agent {self.name} ended at once: {words or 'it said nothing'}.",
                hint=f"seatrial agent logs {self.name}",
            )

    async def adopt(self) -> None:
        """Take over a sandbox that runs without a supervisor.  Raises SandboxError when it does not run."""
        plan = self._plan()
        who = self.runtime.inhabitant(plan)
        await self._control.serve(self.folder.ours / "control.sock")
        await self._gateway.serve(enter.listener_inside(who, GATEWAY_PORT))
        self._begin(prompted=False)

    def _begin(self, *, prompted: bool) -> None:
        self.state = states.begin("running")
        if prompted:
            self.state = states.after(self.state, "prompt", {})
        self.records.note(self.name, "running", {}, phase="running", activity=self.state.activity, detail="")

    def see(self, kind: str, facts: dict[str, Any]) -> None:
        """Take notice of one fact: of the gateway, of the agent's own words, of this process."""
        self._last_seen = time.time()
        before, self.state = self.state, states.after(self.state, kind, facts)
        changed = (before.activity, before.detail) != (self.state.activity, self.state.detail)
        values = {"activity": self.state.activity, "detail": self.state.detail} if changed else {}
        try:
            if kind not in _NOT_NOTED:
                self.records.note(self.name, kind, facts, **values)
            if kind == "request" and facts.get("offers_tools", True):
                self._delivery.taken()
        except AgentError as problem:  # a full disk must not end what runs
            sys.stderr.write(f"{problem.message}\n")
        self._wake.set()

    async def run(self) -> None:
        """Watch until the sandbox ends or shall end, then write down how it was."""
        plan = self._plan()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._mail, self._poked, self._mail)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop, "the supervisor was told to end")
        watch = self._watch_process(plan)
        disk = DiskWatch((self.folder.path,), plan.policy.limits.disk, lambda: self.runtime.pids(plan))
        try:
            while not self._stopping and self.runtime.state(plan).running:
                await self._look(disk)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _TICK_SECONDS)
                self._wake.clear()
            if self._stopping:
                await self._let_end(plan)
        finally:
            loop.remove_reader(self._mail)
            self._mail.close()
            if watch is not None:
                loop.remove_reader(watch)
                os.close(watch)
            self._end(plan)
            await self._gateway.close()
            await self._control.close()

    async def _look(self, disk: DiskWatch) -> None:
        self._dismiss()
        if await self._delivery.interrupt():
            self.see("interrupted", {})
        if await self._delivery.deliver(self.state.takes_messages):
            self.see("prompt" if self.harness.provider else "delivered", {})
        if self._services:
            self._services.look()
        if disk.exceeded():
            self._ask_to_stop(f"it wrote more than {disk._most >> 20} MiB")
        quiet = quiet_seconds(self.folder.log, self._last_seen)
        if quiet > states.STALLED_SECONDS and self.state.activity in ("thinking", "executing"):
            self.see("stalled", {"seconds": round(quiet)})
        elif quiet > _FIRST_CALL_SECONDS and not self._delivery.seen_model and self.state.activity == "thinking":
            self.see("quiet", {})

    def _dismiss(self) -> None:
        import re

        if self._delivery.seen_model or not self.harness.dismiss:
            return
        screen = self.terminal.screen()
        for question in self.harness.dismiss:
            if re.search(question["screen"], screen):
                self.terminal.press(question["key"])
                with contextlib.suppress(SandboxError):
                    self.terminal.press("Enter")

    async def _let_end(self, plan: SandboxPlan) -> None:
        """Ask what runs in the sandbox to end, wait a moment, and end it."""
        self.records.update_agent(self.name, phase="stopping", activity="", detail=self._stopping)
        state = self.runtime.state(plan)
        with contextlib.suppress(OSError, ValueError):
            children = Path(f"/proc/{state.pid}/task/{state.pid}/children").read_text().split()
            for pid in children:
                os.kill(int(pid), signal.SIGTERM)
        end = time.monotonic() + _GRACE_SECONDS
        while self.runtime.state(plan).running and time.monotonic() < end:
            await asyncio.sleep(0.02)
        self.runtime.kill(plan)

    def _end(self, plan: SandboxPlan) -> None:
        """Write down how the run ended, and give back what it held."""
        record = self.records.agent(self.name)
        usage, screen = self.runtime.usage(plan), self.terminal.screen(history=2000)
        self.runtime.kill(plan)
        code = self.runtime.state(plan).exit_code
        (self.folder.path / "screen.txt").write_text(screen)
        self.terminal.close()
        self.runtime.remove(plan)
        detail, phase = self._stopping or f"ended with code {code}", "stopped"
        if not self._stopping and code not in (0, None):
            phase, detail = "error", f"ended with code {code}: {last_words(screen)}"
        if usage.get("killed"):
            detail += f"; {usage['killed']} processes were ended for want of memory"
        seconds = record.seconds + max(0.0, time.time() - record.started)
        self.state = replace(states.begin("stopped"), phase="stopped")
        self.records.note(
            self.name, "ended", {"code": code, "why": detail, "usage": usage},
            phase=phase, activity="", detail=detail, seconds=seconds,
        )  # fmt: skip

    def _listen_for_pokes(self) -> socket.socket:
        file = self.folder.socket("poke")
        file.unlink(missing_ok=True)
        mail = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        mail.bind(str(file))
        mail.setblocking(False)
        return mail

    def _poked(self, mail: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while word := mail.recv(64):
                if word == b"stop":
                    self._ask_to_stop("it was stopped")
                elif word == b"budget":
                    self._ledger.reload()
                    self._gateway.set_budget(self._ledger.budget)
                    self.see("budget_raised", {})
        self._control.arrived.set()
        self._wake.set()

    def _ask_to_stop(self, why: str) -> None:
        self._stopping = self._stopping or why
        self._wake.set()

    def _watch_process(self, plan: SandboxPlan) -> int | None:
        """Wake up when the sandbox ends, where the kernel can tell."""
        try:
            descriptor = os.pidfd_open(self.runtime.state(plan).pid)
        except (OSError, AttributeError):
            return None
        asyncio.get_running_loop().add_reader(descriptor, self._wake.set)
        return descriptor

    def _plan(self) -> SandboxPlan:
        return place.sandbox_plan(self.project, self.spec, self.records.agent(self.name).workspace)

    def _seconds_left(self, used: float) -> int:
        most = self.spec.rules.limits.seconds
        if most and used >= most:
            raise AgentError(f"The agent {self.name} has used its {most} seconds.", hint="Start another one.")
        return max(1, int(most - used)) if most else 0

    async def _spawn(self, name: str, task: str) -> str:
        check_name(name)
        async with self._spawning:  # one at a time, so that they are counted
            return await self._spawn_child(name, task)

    async def _spawn_child(self, name: str, task: str) -> str:
        children = [a for a in self.records.agents() if a.spec.get("parent") == self.name]
        if len(children) >= self.spec.rules.spawn:
            raise AgentError(f"The policy lets {self.name} start {self.spec.rules.spawn} children.")
        words = [sys.executable, "-c", "from seatrial.cli import main; main()", "agent", "start", name, "--json"]
        words += ["--parent", self.name, "--harness", self.harness.name, "--task-file", "-"]
        words += ["--template", self.spec.templates[-1]]
        process = await asyncio.create_subprocess_exec(
            *words, cwd=self.project.root, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate(task.encode())
        if process.returncode:
            raise AgentError(str(json.loads(out or b"{}").get("error", {}).get("message", "The child did not start.")))
        return name


def main() -> None:
    """Supervise one agent; one line on the descriptor given tells the process that started this one how it went."""
    folder, name, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.set_inheritable(int(sys.argv[4]), False)
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)  # keys are in this memory
    project = Project(Path(json.loads((folder / "project.json").read_text())["root"]), folder)
    with project.lock(name).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _report(AgentError(f"The agent {name} has a supervisor already."))
            return
        asyncio.run(_supervise(project, name, how))


async def _supervise(project: Project, name: str, how: str) -> None:
    try:
        supervisor = Supervisor(project, name)
        if how == "adopt":
            await supervisor.adopt()
        else:
            await supervisor.start(resume=how == "resume")
    except SeatrialError as problem:
        if how != "adopt" and project.records.agent(name).phase == "starting":
            _give_up(project, name, problem)
        _report(problem)
        return
    _report(None)
    await supervisor.run()


def _give_up(project: Project, name: str, problem: SeatrialError) -> None:
    """End what a failed start left, and write down why."""
    with contextlib.suppress(SeatrialError):
        record = project.records.agent(name)
        spec = AgentSpec.from_dict(record.spec)
        runtime, plan = open_runtime(spec.runtime), place.sandbox_plan(project, spec, record.workspace)
        runtime.kill(plan)
        runtime.remove(plan)
    Terminal(project.agent(name).socket("tmux")).close()
    project.records.note(name, "error", {"why": problem.message}, phase="error", activity="", detail=problem.message)


def _report(problem: SeatrialError | None) -> None:
    """Tell the starter once; it may be gone."""
    with contextlib.suppress(OSError):
        os.write(int(sys.argv[4]), json.dumps({"error": problem and problem.as_dict()}).encode() + b"\n")
        os.close(int(sys.argv[4]))


if __name__ == "__main__":
    main()
