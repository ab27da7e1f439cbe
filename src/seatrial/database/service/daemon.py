"""The service's process: listens, wakes servers and puts them to sleep, removes branches that expired.

It holds nothing that cannot be found again: killed at any moment, the servers go on running, and the next `seatrial db`
command starts it anew on the same port.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from seatrial import paths
from seatrial.database import branches, copying, durations, holds, place, production, roles
from seatrial.database.postgres import Cluster
from seatrial.database.postgres.cluster import PORT
from seatrial.database.project import Project, find_project
from seatrial.database.records import Branch, Source
from seatrial.database.service.listener import Listener
from seatrial.errors import BranchError, SeatrialError, UnknownBranchError

_log = logging.getLogger("seatrial.database.service")
_LOOK_SECONDS = 1.0
_REAP_SECONDS = 10.0


class Daemon:
    """The running service of one project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        own = roles.names(project.settings.name)
        self.listener = Listener(self.wake, frozenset((own["rw"], own["ro"])))
        self._waking: dict[str, asyncio.Lock] = {}

    async def wake(self, target: str) -> Path:
        """Make the server of `target` run, and return its socket; SeatrialError when it may not."""
        if target != production.EMBEDDED and self.project.records.get(Branch, target) is None:
            raise UnknownBranchError("This branch does not exist any more.", hint="seatrial db branch list")
        async with self._waking.setdefault(target, asyncio.Lock()):
            cluster = await asyncio.to_thread(self._awake, target)
        return place.sockets(cluster.folder) / f".s.PGSQL.{PORT}"

    def _awake(self, target: str) -> Cluster:
        if target == production.EMBEDDED:
            cluster = production.cluster_of(self.project)
            cluster.start()
            return cluster
        branch = self.project.records.get(Branch, target)
        if branch is None:
            raise UnknownBranchError("This branch does not exist any more.", hint="seatrial db branch list")
        if branch.state == "declared":
            branch = branches.provide(self.project, branch)
        return branches.start(self.project, branch)

    async def run(self) -> None:
        """Listen until SIGTERM or SIGINT."""
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        port = self.project.settings.port or int(self.project.records.fact("port") or 0)
        server = await asyncio.start_server(self.listener.serve, "127.0.0.1", port, backlog=512)
        port = server.sockets[0].getsockname()[1]
        self.project.records.set_fact("port", str(port))
        self.project.records.set_fact("service", f"{os.getpid()} {port}")
        _log.info("listening on port %d", port)
        tasks = [
            asyncio.create_task(_every(*work)) for work in ((_LOOK_SECONDS, self._sleep), (_REAP_SECONDS, self._reap))
        ]
        await stopped.wait()
        for task in tasks:
            task.cancel()
        server.close()
        self.project.records.set_fact("service", "")

    async def _sleep(self) -> None:
        """Stop servers that had no client for a while."""
        limit = self.project.settings.sleep_seconds
        targets: list[tuple[str, Cluster]] = [
            (branch.id, branches.cluster_of(self.project, branch)) for branch in branches.all_branches(self.project)
        ]
        if self.project.records.get(Source, production.EMBEDDED):
            targets.append((production.EMBEDDED, production.cluster_of(self.project)))
        for target, cluster in targets:
            last = self.listener.last_used.setdefault(target, time.monotonic())
            if not limit or time.monotonic() - last < limit or not cluster.pid():
                continue
            # A client that comes meanwhile waits at this lock in `wake`, and finds the server stopped.
            async with self._waking.setdefault(target, asyncio.Lock()):
                with paths.tried_lock(self.project.lock(f"branch-{target}")) as free:
                    if free and not self.listener.clients[target] and not await asyncio.to_thread(_is_busy, cluster):
                        await asyncio.to_thread(cluster.stop)
                        _log.info("%s sleeps", target)

    async def _reap(self) -> None:
        """Remove branches that expired, and what resets have set aside."""
        for branch in branches.all_branches(self.project):
            if durations.has_passed(branch.expires):
                if await asyncio.to_thread(branches.expire, self.project, branch):
                    _log.info("branch %s expired", branch.id)
            elif branch.state == "ready" and self.project.settings.max_branch_bytes:
                try:
                    await asyncio.to_thread(holds.check_usable, self.project, branch)
                except BranchError as problem:
                    if await asyncio.to_thread(branches.cluster_of(self.project, branch).stop):
                        _log.info("%s is stopped: %s", branch.id, problem)
        await asyncio.to_thread(copying.remove_doomed, self.project.branches)


def _is_busy(cluster: Cluster) -> bool:
    """Whether somebody is connected past the listener: a copy being made, a change being applied."""
    with cluster.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
    return bool(row and row[0])


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except SeatrialError as problem:
            _log.warning("%s", problem)
        except Exception:  # once is better than never again
            _log.exception("this is tried again")
        await asyncio.sleep(seconds)


def main(root: str) -> None:
    """Run the service of the project at `root`, unless it runs already."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    project = find_project(Path(root))
    with paths.tried_lock(project.lock("service")) as free:
        if free:
            # Each client takes two files.
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            asyncio.run(Daemon(project).run())


if __name__ == "__main__":
    main(sys.argv[1])
