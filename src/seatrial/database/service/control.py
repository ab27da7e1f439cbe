"""Starting and stopping the service of a project, and asking how everything is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from seatrial import paths
from seatrial.database import branches, production
from seatrial.database.postgres import Cluster
from seatrial.database.project import Project
from seatrial.database.records import Source
from seatrial.errors import PostgresError

_START_SECONDS, _POLL_SECONDS = 30.0, 0.01


@dataclass(frozen=True)
class Service:
    """The running service: its process and the port on 127.0.0.1."""

    pid: int
    port: int


def running(project: Project) -> Service | None:
    """Return the service, or None when it does not run."""
    with paths.tried_lock(project.lock("service")) as free:
        if free:
            return None
    pid, _, port = project.records.fact("service").partition(" ")
    return Service(int(pid), int(port)) if port else None


def up(project: Project) -> Service:
    """Start what does not run: the service and, where there is one, the production server.

    Raises PostgresError with the last line of the log when the service does not come up.
    """
    if project.records.get(Source, production.EMBEDDED):
        production.cluster_of(project).start()
    service = running(project)
    if service:
        return service
    log = project.folder / "service.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "seatrial.database.service.daemon", str(project.root)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd="/",
            start_new_session=True,
        )
    end = time.monotonic() + _START_SECONDS
    while not (service := running(project)) or service.pid != process.pid:
        if process.poll() is not None and not running(project):
            last = (log.read_text(errors="replace").strip().splitlines() or ["it says nothing"])[-1]
            raise PostgresError(f"The service does not start: {last}", hint=f"See {log}.")
        if service and process.poll() is not None:
            return service  # somebody else was faster
        if time.monotonic() > end:
            raise PostgresError("The service does not answer.", hint=f"See {log}.")
        time.sleep(_POLL_SECONDS)
    process.returncode = 0  # it outlives us
    return service


def down(project: Project) -> list[str]:
    """Stop the service and every server of the project; return what was stopped."""
    stopped = []
    service = running(project)
    if service:
        os.kill(service.pid, signal.SIGTERM)
        end = time.monotonic() + _START_SECONDS
        while running(project) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        stopped.append("service")
    for name, cluster in servers(project):
        if cluster.stop():
            stopped.append(name)
    return stopped


def servers(project: Project) -> list[tuple[str, Cluster]]:
    """Return (name, cluster) of production and of every branch."""
    found = [(branch.name, branches.cluster_of(project, branch)) for branch in branches.all_branches(project)]
    if project.records.get(Source, production.EMBEDDED):
        found.insert(0, (production.EMBEDDED, production.cluster_of(project)))
    return found


def resident_bytes(cluster: Cluster) -> int:
    """Return the memory of a server and its processes, shared pages divided among them (PSS); 0 when it sleeps."""
    pid = cluster.pid()
    if pid is None:
        return 0
    children = Path(f"/proc/{pid}/task/{pid}/children")
    total = 0
    for process in (pid, *map(int, children.read_text().split())):
        try:
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total
