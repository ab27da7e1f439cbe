"""The cached checkout of a project's base: the lower layer that the workspaces of a big repository share."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seatrial.agents.git.command import Repository, alternate, host_git, user_git
from seatrial.agents.git.source import Source
from seatrial.errors import GitError

MOST_CHANGED = 5_000
"""Files by which a cached checkout may differ from the wanted commit and still be used."""

_SETTINGS = """[core]
	repositoryformatversion = {version}
	filemode = true
	bare = false
	logallrefupdates = true
	checkStat = minimal
	autocrlf = false
	preloadIndex = true
[gc]
	auto = 0
[maintenance]
	auto = false
[receive]
	autogc = false
"""


@dataclass(frozen=True)
class BaseCheckout:
    """A tree of files that nobody changes any more, the index that belongs to it, and its commit."""

    folder: Path
    commit: str
    files: int

    @property
    def tree(self) -> Path:
        """The files: an overlay's lower layer."""
        return self.folder / "tree"

    @property
    def index(self) -> Path:
        """The index that git wrote when it checked the files out."""
        return self.folder / "index"


def base_checkout(source: Source, commit: str, cache: Path, owner: int | None) -> BaseCheckout:
    """Return a cached checkout of `commit`, or of one that differs from it in at most `MOST_CHANGED` files.

    Made once under a lock and renamed into place, so a torn one is never used and is removed by the next call.  The
    files belong to `owner`, for the overlay asks the owner's permissions: whoever mounts it must show an agent only
    the overlay.  Does not protect from power loss in the seconds after it was made (nothing is synced).  GitError if
    git cannot check out.
    """
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    exact = _read(cache / commit)
    if exact is not None:
        return exact
    with _locked(cache / "lock"):
        for torn in cache.glob("making-*"):
            shutil.rmtree(torn, ignore_errors=True)
        for known in base_checkouts(cache):
            if known.commit == commit or _changed(source, known.commit, commit) <= MOST_CHANGED:
                return known
        return _make(source, commit, cache, owner)


def base_checkouts(cache: Path) -> list[BaseCheckout]:
    """Return the checkouts of a cache, the latest first."""
    found = [known for folder in cache.iterdir() if (known := _read(folder))] if cache.is_dir() else []
    return sorted(found, key=lambda known: known.folder.stat().st_mtime, reverse=True)


def prune_base_checkouts(cache: Path, in_use: Collection[Path]) -> list[str]:
    """Remove the checkouts whose tree is no workspace's lower layer, but the latest; return their commits.

    `in_use` must name the lower folder of every workspace that exists: a workspace without its lower layer is lost.
    """
    removed = []
    with _locked(cache / "lock"):
        for known in base_checkouts(cache)[1:]:
            if known.tree not in in_use:
                doomed = cache / f"making-{secrets.token_hex(4)}"  # renamed first: half a checkout must not be found
                known.folder.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
                removed.append(known.commit)
    return removed


def new_git_folder(folder: Path, object_format: str, *, extra: str = "") -> None:
    """Write an empty `.git` without starting git: no template, no hooks, the least configuration."""
    for part in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        (folder / part).mkdir(parents=True)
    text = _SETTINGS.format(version=int(object_format != "sha1"))
    if object_format != "sha1":
        text += f"[extensions]\n\tobjectFormat = {object_format}\n"
    (folder / "config").write_text(text + extra)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")


def check_out(git_dir: Path, tree: Path, commit: str, objects: Path) -> None:
    """Fill `tree` and the index of a fresh `git_dir` with a commit whose objects are in the folder `objects`.

    Only for folders no agent has been in.  No filter runs, for the configuration names none: files under LFS come out
    as pointers.  GitError if git fails.
    """
    place = Repository(git_dir, tree)
    host_git(place, "read-tree", "-m", "-u", commit, variables=alternate(objects))


def give(folder: Path, owner: int) -> None:
    """Make everything in a folder belong to a user id (and the group of that number); symbolic links themselves too."""
    os.chown(folder, owner, owner, follow_symlinks=False)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(f"{parent}/{name}", owner, owner, follow_symlinks=False)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(folder: Path) -> BaseCheckout | None:
    try:
        known = json.loads((folder / "base.json").read_text())
        return BaseCheckout(folder, known["commit"], known["files"]) if folder.name == known["commit"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _changed(source: Source, old: str, new: str) -> int:
    asked = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--ignore-submodules=none", old, new)
    done = user_git(source.at, *asked, check=False)
    return done.stdout.count(b"\0") if done.returncode == 0 else MOST_CHANGED + 1


def _make(source: Source, commit: str, cache: Path, owner: int | None) -> BaseCheckout:
    making = cache / f"making-{secrets.token_hex(4)}"
    (making / "tree").mkdir(parents=True)
    new_git_folder(making / "git", source.object_format)
    if source.shallow:
        shutil.copy(source.common / "shallow", making / "git" / "shallow")
    try:
        check_out(making / "git", making / "tree", commit, source.objects)
    except GitError:
        shutil.rmtree(making, ignore_errors=True)
        raise
    index = making / "git" / "index"
    index.rename(making / "index")
    shutil.rmtree(making / "git")
    files = int.from_bytes((making / "index").read_bytes()[8:12], "big")
    if owner is not None:
        give(making / "tree", owner)
    (making / "base.json").write_text(json.dumps({"commit": commit, "files": files}))
    making.rename(cache / commit)
    return BaseCheckout(cache / commit, commit, files)
