"""A disk that is full or cannot be written: nothing half made stays, and production is as it was (behaviour 5).

Small file systems in memory are mounted for this, which takes a root that may.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from seatrial import database
from seatrial.database import production
from seatrial.database.project import Project
from seatrial.database.records import Snapshot
from seatrial.errors import SeatrialError
from tests.integration.database.attacks import state_of_production
from tests.integration.database.conftest import INSTALLATIONS, SHOP

KIB = 1024


@dataclass
class Disks:
    """A project whose state and whose clusters lie on small file systems of their own."""

    project: Project
    state: Path
    clusters: Path

    def fill(self, name: str, leave: int) -> Path:
        """Fill one of the two, but for `leave` bytes; return the file that does."""
        folder: Path = getattr(self, name)
        filler = folder / "filler"
        free = os.statvfs(folder)
        with filler.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(1, free.f_bavail * free.f_bsize - leave))
        return filler


def mounted(folder: Path, size: str) -> Path:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "none", folder], check=False)
    if done.returncode:
        pytest.skip("file systems cannot be mounted here")
    return folder


@pytest.fixture
def disks(small_disks: Disks, monkeypatch: pytest.MonkeyPatch) -> Disks:
    """The project, for one test."""
    monkeypatch.setenv("SEATRIAL_HOME", str(small_disks.state / "home"))
    return small_disks


@pytest.fixture(scope="module")
def small_disks() -> Iterator[Disks]:
    if os.geteuid() or not INSTALLATIONS:
        pytest.skip("only root may mount file systems")
    folder = Path(tempfile.mkdtemp(prefix="seatrial-disk-"))
    folder.chmod(0o711)
    state, clusters = mounted(folder / "state", "64m"), mounted(folder / "clusters", "500m")
    root = folder / "shop"
    root.mkdir()
    (root / "shop.sql").write_text(SHOP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEATRIAL_HOME", str(state / "home"))
        patch.setenv("SEATRIAL_DB_FOLDER", str(clusters / "databases"))
        patch.setenv("SEATRIAL_DB_POSTGRES", str(INSTALLATIONS[0].major))
        project = database.init(root, name="shop", load=root / "shop.sql")
        database.add_reviewer(project, "rita")
        try:
            yield Disks(project, state, clusters)
        finally:
            database.down(project)
            project.records.close()
            for entry in (state, clusters):
                subprocess.run(["umount", "-l", entry], check=True)
            shutil.rmtree(folder)


def approved(project: Project) -> str:
    change = database.Change(f"CREATE TABLE more_{secrets.token_hex(4)} AS SELECT generate_series(1, 1000) AS a")
    proposal = database.propose(project, change, author="ann")
    return database.approve(project, proposal.id, approver="rita", hazards=proposal.opened().hazards).id


def attempt(project: Project, what: str) -> None:
    if what == "branch":
        database.create_branch(project, database.Wish("new"))
    elif what == "refresh":
        database.refresh(project)
    elif what == "reset":
        database.reset_branch(project, "kept")
    elif what == "propose":
        database.propose(project, database.Change("CREATE TABLE a (id int)"), author="ann")
    else:
        for proposal in project.records.all(database.Proposal, "approved"):
            database.apply(project, proposal.id)


LEFT = [("state", 0), ("state", 8 * KIB), ("state", 64 * KIB), ("clusters", 0), ("clusters", 64 * KIB)]
LEFT += [("clusters", 4 * KIB * KIB), ("clusters", 24 * KIB * KIB)]


@pytest.mark.parametrize(("disk", "leave"), LEFT)
@pytest.mark.parametrize("what", ["branch", "refresh", "reset", "propose", "apply"])
def test_a_full_disk_leaves_nothing_half_made(disks: Disks, what: str, disk: str, leave: int) -> None:
    project = disks.project
    kept = database.create_branch(project, database.Wish("kept"))
    if what == "apply":
        approved(project)
    before = state_of_production(project)
    filler = disks.fill(disk, leave)
    failure = None
    try:
        attempt(project, what)
    except SeatrialError as problem:
        failure = problem
    finally:
        filler.unlink()
    try:
        assert failure or leave > 0, "there was no room for that"
        if failure:
            assert failure.message.count("\n") == 0
        found = database.reconcile(project)
        assert project.audit.verify() > 0
        names = {branch.name: branch.state for branch in database.all_branches(project)}
        assert names == ({"kept": "ready"} if failure or what != "branch" else {"kept": "ready", "new": "ready"}), found
        ids = {branch.id for branch in database.all_branches(project)}
        assert {entry.name for entry in project.branches.iterdir() if not entry.name.endswith(".lock")} == ids
        known = {snapshot.id for snapshot in project.records.all(Snapshot)}
        assert {entry.name for entry in project.snapshots.iterdir() if not entry.name.endswith(".lock")} == known
        assert {snapshot.state for snapshot in project.records.all(Snapshot)} == {"ready"}
        kept_secrets = {name.split()[1] for name in project._secrets() if name.startswith("branch ")}
        assert kept_secrets == ids
        if failure:
            production.cluster_of(project).start()
            assert state_of_production(project) == before
        assert kept.id in ids
    finally:
        for proposal in project.records.all(database.Proposal, *database_open()):
            database.abandon(project, proposal.id, "the test is over")
        for branch in database.all_branches(project):
            database.delete_branch(project, branch.name)


def database_open() -> tuple[str, ...]:
    return ("proposed", "approved", "applying", "needs_cleanup", "stale", "failed")


def test_a_disk_that_cannot_be_written_is_named(disks: Disks) -> None:
    folder = disks.clusters
    database.down(disks.project)
    disks.project.records.close()
    for name in ("records", "audit"):
        disks.project.__dict__.pop(name, None)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    try:
        with pytest.raises(SeatrialError, match=r"[Rr]ead-only|readonly|[Cc]annot write|cannot be (?:written|used)"):
            database.create_branch(disks.project, database.Wish("new"))
    finally:
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        for name in ("records", "audit"):
            disks.project.__dict__.pop(name, None)
        database.up(disks.project)
    database.reconcile(disks.project)
    assert database.all_branches(disks.project) == []
