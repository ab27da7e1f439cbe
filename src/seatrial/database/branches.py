"""Branches: made from a golden copy, given roles of their own, reset, renamed, extended, deleted.

A branch is written down as `creating` first and becomes `ready` last; only then does anything let clients in.  What a
killed process left is undone (a branch half made or half deleted) or finished (a reset) by `reconcile`.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass

from psycopg.conninfo import make_conninfo

from seatrial import paths
from seatrial.database import copying, durations, holds, place, production, roles, snapshots
from seatrial.database.postgres import Cluster
from seatrial.database.postgres.connection import explained
from seatrial.database.project import Project
from seatrial.database.records import Branch, Snapshot
from seatrial.database.sources import refresh
from seatrial.database.steps import step
from seatrial.errors import BranchError, UnknownBranchError

KINDS = ("owner", "rw", "ro")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_ENDED = ("deleting", "deleted")


@dataclass(frozen=True)
class Wish:
    """What a new branch shall be; empty texts are the defaults."""

    name: str
    parent: str = ""
    at: str = ""
    ttl: str = ""
    strategy: str = ""
    schema_only: bool = False
    git_branch: str = ""
    owner: str = ""
    lazy: bool = False


def cluster_of(project: Project, branch: Branch) -> Cluster:
    """Return the cluster of a branch."""
    return Cluster(project.branches / branch.id, project.installation, project.secret("superuser of branches"))


def all_branches(project: Project) -> list[Branch]:
    """Return the branches that exist or are declared, oldest first."""
    return [branch for branch in project.records.all(Branch) if branch.state not in _ENDED]


def find(project: Project, name: str) -> Branch:
    """Return the branch of a name or id; UnknownBranchError else."""
    for branch in all_branches(project):
        if name in (branch.name, branch.id):
            return branch
    known = ", ".join(branch.name for branch in all_branches(project)[-8:]) or "none"
    raise UnknownBranchError(f"There is no branch {name}.", hint=f"Known: {known}.")


def create(project: Project, wish: Wish) -> Branch:
    """Make a branch and return it `ready`; with `wish.lazy` only declare it, to be made by the first client.

    Raises BranchError for a name, quota, parent or strategy that cannot be; nothing half made stays.
    """
    branch = _declared(project, wish)
    if wish.lazy:
        project.records.put(branch)
        project.audit.write("branch.declare", branch.id, name=branch.name)
        return branch
    with paths.locked(project.lock(f"branch-{branch.id}")):
        return _provide(project, branch, wish.at)


def provide(project: Project, branch: Branch) -> Branch:
    """Make a declared branch; ten callers at once make it once, and all get it.  UnknownBranchError if it is gone."""
    with paths.locked(project.lock(f"branch-{branch.id}")):
        known = project.records.get(Branch, branch.id)
        if known is None or known.state in _ENDED:
            raise UnknownBranchError(f"The branch {branch.name} was deleted.")
        return known if known.state == "ready" else _provide(project, known)


def _provide(project: Project, branch: Branch, at: str = "") -> Branch:
    began = time.monotonic()
    branch = project.records.put(branch, state="creating")
    try:
        with explained(f"The branch {branch.name} cannot be made"):
            branch = _make(project, branch, _snapshot_for(project, branch, at))
    except BaseException as problem:
        _remove(project, branch)
        reason = str(problem).splitlines()[0][:200] if str(problem) else type(problem).__name__
        project.audit.write("branch.create", branch.id, "failed", name=branch.name, reason=reason)
        raise
    branch = project.records.put(branch, state="ready", seconds=round(time.monotonic() - began, 3))
    project.audit.write("branch.create", branch.id, name=branch.name, snapshot=branch.snapshot, who_for=branch.owner)
    return branch


def reset(project: Project, name: str, *, at: str = "") -> Branch:
    """Put a branch back to its golden copy (or the snapshot `at`): same name, same passwords, its changes are gone.

    Raises BranchError when that snapshot is gone, MaskingError when it was masked by another policy than that of now.
    """
    branch = find(project, name)
    if branch.state == "declared":
        return branch
    with paths.locked(project.lock(f"branch-{branch.id}")):
        snapshot = find_snapshot(project, at) if at else project.records.get(Snapshot, branch.snapshot)
        if snapshot is None:
            raise BranchError(f"The snapshot that {name} was made from is gone.", hint="Name one: --at SNAPSHOT")
        snapshots.check_masked(project, snapshot)
        branch = project.records.put(branch, state="resetting", snapshot=snapshot.id)
        step("reset.begun")
        with explained(f"The branch {branch.name} cannot be reset"):
            branch = _finish_reset(project, branch)
        holds.make_stale(project, branch, f"branch {branch.name} was reset")
        project.audit.write("branch.reset", branch.id, name=branch.name, snapshot=snapshot.id)
    return branch


def delete(project: Project, name: str) -> Branch:
    """Delete a branch: server, files, passwords; BranchError while branches were made from it."""
    branch = find(project, name)
    children = [other.name for other in all_branches(project) if other.parent == branch.id]
    if children:
        raise BranchError(f"{branch.name} has branches of its own: {', '.join(children)}.", hint="Delete these first.")
    with paths.locked(project.lock(f"branch-{branch.id}")):
        _remove(project, branch)
        project.audit.write("branch.delete", branch.id, name=branch.name)
    return branch


def rename(project: Project, name: str, to: str) -> Branch:
    """Give a branch another name; its URL stays."""
    branch = find(project, name)
    _check_name(project, to)
    project.audit.write("branch.rename", branch.id, name=branch.name, to=to)
    return project.records.put(branch, name=to)


def extend(project: Project, name: str, ttl: str) -> Branch:
    """Let a branch live for `ttl` from now; BranchError for one that expired already."""
    branch = find(project, name)
    branch = project.records.put(branch, expires=durations.after(durations.seconds(ttl)))
    project.audit.write("branch.extend", branch.id, name=branch.name, until=branch.expires)
    return branch


def expire(project: Project, branch: Branch) -> bool:
    """Delete a branch whose time is over, unless something keeps it (`holds.keeps`); say whether it is gone."""
    if holds.keeps(project, branch):
        cluster_of(project, branch).stop()
        return False
    with paths.locked(project.lock(f"branch-{branch.id}")):
        _remove(project, branch)
        project.audit.write("branch.expire", branch.id, name=branch.name, at=branch.expires)
    return True


def start(project: Project, branch: Branch) -> Cluster:
    """Start the server of a branch that is ready, and return it; BranchError when it is not to be used."""
    holds.check_usable(project, branch)
    cluster = cluster_of(project, branch)
    cluster.start()
    return cluster


def password(project: Project, branch: Branch, kind: str) -> str:
    """Return the password of one of a branch's roles."""
    return project.secret(f"branch {branch.id} {kind}")


def dsn(project: Project, branch: Branch, kind: str = "owner") -> str:
    """Return the connection string over the branch's private socket, for one of its roles."""
    cluster = cluster_of(project, branch)
    return make_conninfo(cluster.dsn(project.settings.name, branch.role(kind), password(project, branch, kind)))


def find_snapshot(project: Project, name: str) -> Snapshot:
    """Return a usable snapshot by name or id; BranchError else."""
    for snapshot in project.records.all(Snapshot, "ready"):
        if name in (snapshot.id, snapshot.name):
            return snapshot
    known = ", ".join(s.name or s.id for s in project.records.all(Snapshot, "ready")) or "none"
    raise BranchError(f"There is no snapshot {name}.", hint=f"Known: {known}.")


def take_snapshot(project: Project, name: str, branch_name: str = "") -> Snapshot:
    """Freeze production, or a branch, under a name; it stays until it is deleted.  BranchError for a name in use."""
    if not _NAME.fullmatch(name) or any(name in (known.name, known.id) for known in project.records.all(Snapshot)):
        raise BranchError(f"A snapshot cannot be called {name!r}, or one is already.", hint="Choose another name.")
    if branch_name and branch_name != production.EMBEDDED:
        branch = find(project, branch_name)
        return _freeze(project, branch, name)
    return project.records.put(refresh.refresh(project), name=name)


def keep_production(project: Project, name: str) -> Snapshot:
    """Freeze production as it is, also where copies are masked: this one is for bringing data back, not for branches.

    Where production is elsewhere it is a dump, masked as every other.
    """
    if not production.source_of(project).embedded:
        return take_snapshot(project, name)
    with paths.locked(project.lock("refresh")):
        return project.records.put(snapshots.refresh_embedded(project), name=name)


def delete_snapshot(project: Project, name: str) -> None:
    """Delete a snapshot; BranchError while a branch would be reset to it."""
    snapshot = find_snapshot(project, name)
    users = [branch.name for branch in all_branches(project) if branch.snapshot == snapshot.id]
    if users:
        raise BranchError(
            f"The snapshot {name} is what {', '.join(users)} would be reset to.", hint="Delete these first."
        )
    with paths.locked(project.lock("refresh")):
        snapshots.delete(project, snapshot)
        project.audit.write("snapshot.delete", snapshot.id, name=snapshot.name)


def reconcile(project: Project) -> list[str]:
    """Finish or undo what killed processes left, and return a sentence for each; what is being worked on is let be."""
    found = []
    for branch in project.records.all(Branch, "creating", "resetting", "deleting"):
        with paths.tried_lock(project.lock(f"branch-{branch.id}")) as free:
            known = project.records.get(Branch, branch.id)
            if not free or known is None or known.state != branch.state:
                continue
            if branch.state == "resetting":
                _finish_reset(project, branch)
                found.append(f"the reset of branch {branch.name} was interrupted and is finished now")
            else:
                _remove(project, branch)
                word = "making" if branch.state == "creating" else "deletion"
                found.append(f"the {word} of branch {branch.name} was interrupted; what was left is removed")
            project.audit.write("branch.reconcile", branch.id, name=branch.name, was=branch.state)
    for snapshot in project.records.all(Snapshot, "creating", "deleting"):
        with paths.tried_lock(project.lock("refresh")) as free:
            if free:
                snapshots.delete(project, snapshot)
                found.append(f"the golden copy {snapshot.id} was never finished; what was left is removed")
    for folder in (project.branches, project.snapshots):
        copying.remove_doomed(folder)
    return found


def _declared(project: Project, wish: Wish) -> Branch:
    _check_name(project, wish.name)
    if len(all_branches(project)) >= project.settings.max_branches:
        raise BranchError(
            f"There are {project.settings.max_branches} branches already.",
            hint="Delete some, or raise [db] max_branches.",
        )
    copying.check(wish.strategy, project.branches)
    if wish.schema_only and (wish.at or wish.parent):
        raise BranchError("A branch without rows is made of production alone.", hint="Leave out --at and --from.")
    parent = find(project, wish.parent).id if wish.parent and wish.parent != production.EMBEDDED else ""
    if wish.at:
        find_snapshot(project, wish.at)
    return Branch(
        secrets.token_hex(4),
        "declared",
        name=wish.name,
        snapshot="",
        parent=parent,
        strategy=wish.strategy,
        owner=wish.owner,
        git_branch=wish.git_branch,
        expires=durations.after(durations.seconds(wish.ttl or project.settings.branch_ttl)),
        schema_only=wish.schema_only,
    )


def _check_name(project: Project, name: str) -> None:
    if not _NAME.fullmatch(name) or ".." in name or name == production.EMBEDDED:
        raise BranchError(
            f"{name!r} cannot be the name of a branch.",
            hint="Up to 100 of A-Z, a-z, 0-9, . _ / -, beginning with a letter or digit; not `production`.",
        )
    if any(name in (branch.name, branch.id) for branch in all_branches(project)):
        raise BranchError(f"There is a branch {name} already.", hint=f"seatrial db branch delete {name}")


def _snapshot_for(project: Project, branch: Branch, at: str) -> Snapshot:
    if at:
        return find_snapshot(project, at)
    if branch.parent:
        parent = find(project, branch.parent)
        return _freeze(project, parent)
    return refresh.current(project, schema_only=branch.schema_only)


def _freeze(project: Project, branch: Branch, name: str = "") -> Snapshot:
    if branch.state == "declared":
        branch = provide(project, branch)
    # The service does not put a server to sleep while its branch is held.
    with paths.locked(project.lock(f"branch-{branch.id}")), paths.locked(project.lock("refresh")):
        return snapshots.snapshot_branch(project, branch, start(project, branch), name)


def _make(project: Project, branch: Branch, snapshot: Snapshot) -> Branch:
    snapshots.check_masked(project, snapshot)
    branch = project.records.put(
        branch,
        snapshot=snapshot.id,
        strategy=copying.check(branch.strategy, project.branches),
        fingerprint=snapshot.fingerprint,
        masked=snapshot.masked,
        schema_only=snapshot.schema_only,
    )
    step("branch.begun")
    _copy(project, branch, snapshot)
    _give_roles(project, branch, snapshot)
    step("branch.given")
    return branch


def _copy(project: Project, branch: Branch, snapshot: Snapshot) -> None:
    cluster = cluster_of(project, branch)
    place.server_folder(cluster.folder)
    copying.copy_data(snapshots.cluster_of(project, snapshot).data, cluster.data, branch.strategy)
    step("branch.copied")


def _give_roles(project: Project, branch: Branch, snapshot: Snapshot) -> None:
    cluster = cluster_of(project, branch)
    cluster.start()
    step("branch.started")
    passwords = {kind: password(project, branch, kind) for kind in KINDS}
    names = {kind: branch.role(kind) for kind in KINDS}
    with cluster.connect() as connection:
        roles.create_branch_roles(connection, project.settings.name, names, passwords, snapshot.owners)


def _finish_reset(project: Project, branch: Branch) -> Branch:
    snapshot = project.records.get(Snapshot, branch.snapshot)
    if snapshot is None:
        return project.records.put(branch, state="failed", reason="The snapshot to reset to is gone.")
    cluster_of(project, branch).stop(immediate=True)
    copying.set_aside(cluster_of(project, branch).data, project.branches)
    step("reset.removed")
    _copy(project, branch, snapshot)
    _give_roles(project, branch, snapshot)
    step("reset.given")
    return project.records.put(branch, state="ready", fingerprint=snapshot.fingerprint, masked=snapshot.masked)


def _remove(project: Project, branch: Branch) -> None:
    project.records.put(branch, state="deleting")
    step("delete.begun")
    cluster_of(project, branch).stop(immediate=True)
    step("delete.stopped")
    copying.remove(project.branches / branch.id)
    step("delete.removed")
    for kind in KINDS:
        project.set_secret(f"branch {branch.id} {kind}", "")
    project.records.remove(branch)
