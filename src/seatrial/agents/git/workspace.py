"""A private clone for one agent, made before the agent runs and never touched by host git again.

The clone holds no object of the project: it borrows them from the user's repository, whose folder of objects the
sandbox shows read-only at a fixed path.  Big trees are not written either: the clone is then the upper layer of an
overlay on a shared checkout.  A ref in the user's repository keeps the borrowed history from the user's own `git gc`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from seatrial.agents.git.checkout import (
    BaseCheckout,
    base_checkout,
    base_checkouts,
    check_out,
    give,
    new_git_folder,
)
from seatrial.agents.git.command import user_git
from seatrial.agents.git.inside import check_name, printable
from seatrial.agents.git.source import Source, find_source, object_folders
from seatrial.errors import GitError

BRANCHES = "seatrial/"
PLAIN_FILES = 2_000
PLAIN_BYTES = 64 << 20
"""Trees of fewer files and fewer bytes than both are written out; larger ones become overlays."""


@dataclass(frozen=True)
class Workspace:
    """What the sandbox has to mount.

    Either `root` is a plain folder, or `lower`, `upper` and `work` are the layers of an overlay.  `borrowed` are
    folders of objects as (host path, path inside), all to be mounted read-only.  `first_commands` run inside before
    the agent does.  `uncommitted` counts the user's files that differ from the commit, None for big trees, where it
    takes longer than all else.  `notes` are sentences for the user.
    """

    branch: str
    base: str
    root: Path | None
    lower: Path | None
    upper: Path | None
    work: Path | None
    borrowed: tuple[tuple[Path, str], ...]
    read_only: tuple[tuple[Path, str], ...]
    first_commands: tuple[tuple[str, ...], ...]
    uncommitted: int | None
    notes: tuple[str, ...]


def create_workspace(
    source: Path,
    target: Path,
    *,
    name: str,
    base: str | None,
    owner: int | None,
    objects_inside: str,
    identity: tuple[str, str] | None = None,
    cache: Path | None = None,
) -> Workspace:
    """Make the clone of agent `name` in the new folder `target`, on branch `seatrial/NAME`, starting at `base`.

    `base` defaults to the user's branch `seatrial/NAME` if there is one (work goes on) and to HEAD if not.  `owner` is
    the user id that everything shall belong to, needed when Seatrial runs as root.  With `cache` trees of
    `PLAIN_FILES` or `PLAIN_BYTES` and more become overlays on a checkout kept there; without, all are written out.
    Takes a second or less for a cached base.  Raises ProjectError if there is no repository or no commit, GitError if
    `target` exists or git fails.  Does not carry over uncommitted files, hooks, remotes or credentials.
    """
    found, branch = find_source(source), BRANCHES + check_name(name)
    if target.exists():
        raise GitError(f"{target} exists already.")
    notes: list[str] = []
    commit = _start(found, branch, base, notes)
    hold_base(found, name, commit)
    checkout = _cached(found, commit, cache, owner)
    making = target.with_name(target.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    files = making / ("upper" if checkout else "tree")
    files.mkdir(parents=True)
    if checkout:
        (making / "work").mkdir()
    borrowed = object_folders(found.objects, objects_inside)
    git_dir = files / ".git"
    _write_git(found, git_dir, branch, commit, identity or (name, f"{name}@seatrial.invalid"))
    if checkout:
        shutil.copy2(checkout.index, git_dir / "index")  # its time too: git compares it with the files' times
    else:
        check_out(git_dir, files, commit, found.objects)
    (git_dir / "objects" / "info" / "alternates").write_text(objects_inside + "\n")
    extra = _kept(found, checkout.tree if checkout else files, str(Path(objects_inside).parent), notes)
    uncommitted = _uncommitted(found, checkout, notes)
    if owner is not None:
        give(making, owner)
    making.rename(target)
    behind = checkout is not None and checkout.commit != commit
    return Workspace(
        branch=branch,
        base=commit,
        root=None if checkout else target / "tree",
        lower=checkout.tree if checkout else None,
        upper=target / "upper" if checkout else None,
        work=target / "work" if checkout else None,
        borrowed=borrowed,
        read_only=extra,
        first_commands=(("git", "reset", "--quiet", "--hard", commit),) if behind else (),
        uncommitted=uncommitted,
        notes=tuple(notes),
    )


def prepare_checkout(source: Path, cache: Path, owner: int | None) -> bool:
    """Make the cached checkout of HEAD now, if the tree is big enough for one, so that the first agent need not wait.

    Takes as long as `git checkout` of the tree; returns whether one is there.  Raises as `create_workspace` does.
    """
    found = find_source(source)
    return _cached(found, found.commit("HEAD"), cache, owner) is not None


def hold_base(source: Source, name: str, commit: str) -> None:
    """Keep a commit, and so all objects that agent `name` borrows, from the user's `git gc`: `refs/seatrial/base/NAME`.

    GitError if the ref cannot be written.  Does not protect from someone who deletes the ref or the objects.
    """
    user_git(source.at, "update-ref", f"refs/seatrial/base/{check_name(name)}", commit)


def release_base(source: Source, name: str) -> None:
    """Undo `hold_base`; only after the agent's clone is deleted.  GitError if git fails; no ref is fine."""
    user_git(source.at, "update-ref", "-d", f"refs/seatrial/base/{check_name(name)}")


def _start(source: Source, branch: str, base: str | None, notes: list[str]) -> str:
    if base is not None:
        return source.commit(base)
    head = source.commit("HEAD")
    known = user_git(source.at, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", check=False)
    if known.returncode == 0:
        notes.append(f"Goes on from the branch {branch} that exists already.")
        return known.stdout.decode().strip()
    if source.branch() is None and source.at.worktree is not None:
        notes.append(f"HEAD is detached: starts from {head[:12]}.")
    return head


def _uncommitted(source: Source, checkout: BaseCheckout | None, notes: list[str]) -> int | None:
    if checkout is not None:
        return None
    found = source.uncommitted()
    if found:
        notes.append(f"{found} uncommitted files of {source.root} are not in it.")
    return found


def _cached(source: Source, commit: str, cache: Path | None, owner: int | None) -> BaseCheckout | None:
    if cache is None:
        return None
    if not base_checkouts(cache):
        names = user_git(source.at, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).stdout
        if names.count(b"\0") < PLAIN_FILES:
            sized = user_git(source.at, "ls-tree", "-r", "-l", "-z", "--full-tree", commit).stdout
            sizes = (entry.split(b"\t", 1)[0].split()[-1] for entry in sized.split(b"\0") if entry)
            if sum(int(size) for size in sizes if size.isdigit()) < PLAIN_BYTES:
                return None
    return base_checkout(source, commit, cache, owner)


def _write_git(source: Source, git_dir: Path, branch: str, commit: str, identity: tuple[str, str]) -> None:
    person = "".join(f"\t{key} = {_quoted(value)}\n" for key, value in zip(("name", "email"), identity, strict=True))
    new_git_folder(git_dir, source.object_format, extra=f"[user]\n{person}[push]\n\tdefault = nothing\n")
    (git_dir / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
    ref = git_dir / "refs" / "heads" / branch
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit + "\n")
    (git_dir / "info" / "exclude").write_text("")
    if source.shallow:
        shutil.copy(source.common / "shallow", git_dir / "shallow")
    tags = source.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
    here = source.branch()
    lines = [*tags.splitlines(), *([f"{commit} refs/remotes/origin/{here}"] if here else [])]
    if lines:
        ordered = sorted(lines, key=lambda line: line.split(" ", 1)[1].encode("utf-8", "surrogateescape"))
        text = "# pack-refs with: sorted \n" + "\n".join(ordered) + "\n"
        (git_dir / "packed-refs").write_text(text, errors="surrogateescape")


def _quoted(value: str) -> str:
    return '"' + printable(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _kept(source: Source, tree: Path, inside: str, notes: list[str]) -> tuple[tuple[Path, str], ...]:
    found = []
    modules, large = source.common / "modules", source.common / "lfs"
    if (tree / ".gitmodules").is_file():
        notes.append("Submodules are empty folders: nothing is cloned over the network.")
        if modules.is_dir():
            found.append((modules, f"{inside}/modules"))
            notes.append(f"What the user's repository has of them is shown read-only at {inside}/modules.")
    if large.is_dir():
        found.append((large, f"{inside}/lfs"))
        notes.append(f"Files under LFS are pointers; what git lfs fetched is shown read-only at {inside}/lfs.")
    return tuple(found)
