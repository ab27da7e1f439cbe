"""Landing: the one place where the user's repository is changed, by a plan and nothing else.

Order: objects, a record in the relay, a journal, the work tree, the branch.  Killed anywhere, the branch is either
before or after; `recover_landing` brings a half-written work tree to the same side.  Hooks do not run.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seatrial.agents.git.command import Repository, alternate, host_git, user_git
from seatrial.agents.git.inside import printable
from seatrial.agents.git.merge import MergePlan
from seatrial.agents.git.merging import is_ancestor
from seatrial.agents.git.provenance import record_landing
from seatrial.agents.git.relay import Relay, agent_refs
from seatrial.agents.git.source import Source
from seatrial.errors import GitError, MergeConflictError

_LOOSE_OBJECTS = 100
_UNDER_WAY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")


@dataclass(frozen=True)
class Landing:
    """Branch `into` went from `old` to `new`; `worktree` is where files were updated, None if nowhere."""

    into: str
    old: str
    new: str
    worktree: Path | None


def execute_merge(plan: MergePlan, relay: Relay, source: Source) -> Landing:
    """Do what a plan says, if everything still is as it was when it was made.

    Raises MergeConflictError if the plan has conflicts; GitError if the branch or the agent moved since, if files that
    would change have uncommitted changes, or if git is at work (or was killed) in the same work tree.  Then nothing
    has moved.  Runs no hook; the user's own filters (LFS) do run on files written to the work tree.
    """
    if plan.conflicts or plan.result is None:
        paths = ", ".join(sorted({conflict.path for conflict in plan.conflicts})[:10])
        raise MergeConflictError(
            f"The work of '{plan.agent}' conflicts with {plan.into} in {len(plan.conflicts)} places: {paths}",
            hint="Let the agent resolve them, then collect and plan again.",
            conflicts=plan.conflicts,
        )
    with _locked(relay):
        _recover(relay, source)
        _still(plan, relay, source)
        place = _checked_out(source, plan.into)
        if place is not None:
            _check_worktree(place, _changes(source.at, relay, plan.target, plan.result))
        _bring(relay, source, plan.result, plan.target)
        record_landing(relay, plan.agent, plan.head, plan.result)
        if place is not None:
            _update_worktree(relay, source, place, plan)
        _move(source, plan.into, plan.target, plan.result, plan.agent)
        _journal(relay).unlink(missing_ok=True)
    return Landing(plan.into, plan.target, plan.result, place.worktree if place else None)


def publish_branch(relay: Relay, source: Source, name: str) -> str:
    """Show an agent's commits, as they are, as the branch `seatrial/NAME` of the user's repository; return its commit.

    Moves no other ref and no file.  Raises GitError if that branch is checked out somewhere, or has commits that the
    agent has not (it may be the user's own by now).
    """
    refs, branch = agent_refs(relay, name), f"seatrial/{name}"
    with _locked(relay):
        old = _tip(source, branch)
        if old and _checked_out(source, branch) is not None:
            raise GitError(f"The branch {branch} is checked out, so it is not moved.")
        if old and not is_ancestor(relay, old, refs.head):
            raise GitError(f"The branch {branch} has commits that the agent has not.", hint="Rename or delete it.")
        if old != refs.head:
            _bring(relay, source, refs.head, refs.base)
            _move(source, branch, old or "0" * len(refs.head), refs.head, name)
    return refs.head


def recover_landing(relay: Relay, source: Source) -> str | None:
    """Finish or undo a landing that was killed; return a sentence about it, None if there was none.

    GitError if files were changed since, or git's lock is still there: then nothing is touched.
    """
    with _locked(relay):
        return _recover(relay, source)


def _still(plan: MergePlan, relay: Relay, source: Source) -> None:
    refs = agent_refs(relay, plan.agent)
    if _tip(source, plan.into) != plan.target:
        raise GitError(f"{printable(plan.into)} has moved since this was planned.", hint="Plan again.")
    if plan.head not in (refs.head, refs.work):
        raise GitError(f"The agent '{plan.agent}' has moved on since this was planned.", hint="Plan again.")


def _tip(source: Source, branch: str) -> str:
    done = user_git(source.at, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", check=False)
    return done.stdout.decode().strip()


def _move(source: Source, branch: str, old: str, new: str, agent: str) -> None:
    user_git(source.at, "update-ref", "-m", f"seatrial: land {agent}", f"refs/heads/{branch}", new, old)


def _checked_out(source: Source, branch: str) -> Repository | None:
    """Return the work tree that has a branch checked out."""
    listed = user_git(source.at, "worktree", "list", "--porcelain", "-z").stdout.decode("utf-8", "surrogateescape")
    for entry in listed.split("\0\0"):
        facts = dict([*line.split(" ", 1), ""][:2] for line in entry.split("\0") if line)
        if facts.get("branch") == f"refs/heads/{branch}" and "bare" not in facts:
            tree = Path(facts["worktree"])
            if (tree / ".git").exists():
                return Repository(tree / ".git", tree)
    return None


def _check_worktree(place: Repository, changes: Sequence[_Change]) -> None:
    own = _git_dir(place)
    for lock in ("index.lock", "HEAD.lock"):
        if (own / lock).exists():
            raise GitError(
                f"{own / lock} exists: git is at work in {place.worktree}, or was killed there.",
                hint="If no git is running, delete that file and repeat.",
            )
    for mark in _UNDER_WAY:
        if (own / mark).exists():
            raise GitError(
                f"{place.worktree} is in the middle of something ({mark}).", hint="Finish or abort it first."
            )
    assert place.worktree is not None
    said = user_git(place, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no").stdout
    dirty = {line[3:] for line in said.split(b"\0") if line}
    touched = {change.path for change in changes}
    untracked = {
        change.path for change in changes if change.old_mode == "000000" and _holds(place.worktree, change.path)
    }
    in_the_way = sorted((dirty & touched) | untracked)
    if in_the_way:
        told = ", ".join(printable(path, limit=120) for path in in_the_way[:10])
        raise GitError(f"{place.worktree} has uncommitted changes in files that would change: {told}",
                       hint="Commit, stash or move them, then repeat.")  # fmt: skip


def _bring(relay: Relay, source: Source, new: str, old: str) -> None:
    """Copy the objects of `new` that `old` has not from the relay into the user's repository."""
    wanted = f"{new}\n^{old}\n".encode()
    count = int(host_git(relay.path, "rev-list", "--objects", "--count", "--stdin", stdin=wanted).stdout)
    pack = relay.path / "seatrial" / f"outgoing-{secrets.token_hex(4)}"
    try:
        with pack.open("wb") as output:
            host_git(relay.path, "pack-objects", "--revs", "--stdout", "--quiet", stdin=wanted, stdout=output)
        command = ("unpack-objects", "-q") if count < _LOOSE_OBJECTS else ("index-pack", "--stdin")
        with pack.open("rb") as file:
            user_git(source.at, *command, stdin=file)
    finally:
        pack.unlink(missing_ok=True)


def _update_worktree(relay: Relay, source: Source, place: Repository, plan: MergePlan) -> None:
    assert plan.result is not None
    # read-tree trusts the times in the index, which differ after a copy or a touch of the files
    user_git(place, "update-index", "-q", "--refresh", check=False)
    facts = {"into": plan.into, "old": plan.target, "new": plan.result, "worktree": str(place.worktree)}
    fresh = _journal(relay).with_suffix(".new")
    fresh.write_text(json.dumps({**facts, "agent": plan.agent}))
    fresh.replace(_journal(relay))
    try:
        user_git(place, "read-tree", "-m", "-u", plan.target, plan.result)
    except GitError:
        _recover(relay, source)
        raise


@dataclass(frozen=True)
class _Change:
    path: bytes
    old_mode: str
    new_mode: str
    new: str


def _changes(at: Repository, relay: Relay, old: str, new: str) -> list[_Change]:
    asked = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index", old, new)
    fields = user_git(at, *asked, variables=alternate(relay.path / "objects")).stdout.split(b"\0")
    metas = [(meta[1:].decode().split(" "), path) for meta, path in zip(fields[0::2], fields[1::2], strict=False)]
    return [_Change(path, meta[0], meta[1], meta[3]) for meta, path in metas]


def _recover(relay: Relay, source: Source) -> str | None:
    try:
        known = json.loads(_journal(relay).read_text())
        into, old, new, agent = (str(known[key]) for key in ("into", "old", "new", "agent"))
        tree = Path(known["worktree"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise GitError(f"{_journal(relay)} is damaged: look at the work tree yourself, then delete it.") from error
    place = Repository(tree / ".git", tree)
    tip = _tip(source, into)
    if tip != old or not (tree / ".git").exists():
        told = f"Landing '{agent}' on {into} had been done." if tip == new else f"{into} was moved since."
    elif (_git_dir(place) / "index.lock").exists():
        raise GitError(
            f"Landing '{agent}' was interrupted and {_git_dir(place) / 'index.lock'} is still there.",
            hint="If no git is running, delete that file and repeat.",
        )
    elif user_git(place, "diff-index", "--cached", "--quiet", new, check=False).returncode == 0:
        _move(source, into, old, new, agent)
        told = f"Landing '{agent}' on {into} was interrupted and is now done."
    else:
        _undo(place, _changes(place, relay, old, new))
        told = f"Landing '{agent}' on {into} was interrupted and is undone; nothing of it is left."
    _journal(relay).unlink()
    return told


def _undo(place: Repository, changes: Sequence[_Change]) -> None:
    """Put back the files of a half-done update, unless one is neither the old file nor (the beginning of) the new."""
    assert place.worktree is not None
    user_git(place, "update-index", "-q", "--refresh", check=False)
    said = user_git(place, "diff-files", "--name-only", "-z").stdout.split(b"\0")
    differing = set(filter(None, said))
    added = [change for change in changes if change.old_mode == "000000" and _holds(place.worktree, change.path)]
    changed = [change for change in changes if change.old_mode != "000000" and change.path in differing]
    foreign = [change.path for change in (*added, *changed) if not _ours(place, change)]
    if foreign:
        told = ", ".join(printable(path, limit=120) for path in foreign[:10])
        raise GitError(f"A landing was interrupted, and these were changed since: {told}",
                       hint="Move them away, then repeat.")  # fmt: skip
    for change in added:
        path = place.worktree / _text(change.path)
        path.unlink()
        for parent in path.parents:
            if parent == place.worktree or any(parent.iterdir()):
                break
            parent.rmdir()
    paths = b"".join(change.path + b"\0" for change in changed)
    if paths:
        user_git(place, "checkout-index", "--force", "-u", "-z", "--stdin", stdin=paths)


def _ours(place: Repository, change: _Change) -> bool:
    """Whether a path holds what the update wrote, wholly or in part, or nothing."""
    assert place.worktree is not None
    path = place.worktree / _text(change.path)
    if not _holds(place.worktree, change.path) or change.new_mode == "160000":
        return True
    if change.new_mode == "000000":
        return False
    blob = user_git(place, "cat-file", "blob", change.new).stdout
    if path.is_symlink():
        return _text(blob) == str(path.readlink())
    data = path.read_bytes()
    if blob.startswith(data):
        return True
    named = user_git(place, "hash-object", "--path", _text(change.path), "--stdin", stdin=data).stdout
    return named.decode().strip() == change.new


def _holds(worktree: Path, path: bytes) -> bool:
    """Whether a file or link (no folder) is there, not looking through links that stand where folders should."""
    full = worktree / _text(path)
    for parent in full.parents:
        if parent == worktree:
            break
        if parent.is_symlink():
            return False
    try:
        return not stat.S_ISDIR(full.lstat().st_mode)
    except OSError:
        return False


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _git_dir(place: Repository) -> Path:
    said = user_git(place, "rev-parse", "--absolute-git-dir").stdout
    return Path(said.decode("utf-8", "surrogateescape").rstrip("\n"))


def _journal(relay: Relay) -> Path:
    return relay.path / "seatrial" / "landing.json"


@contextmanager
def _locked(relay: Relay) -> Iterator[None]:
    folder = relay.path / "seatrial"
    folder.mkdir(exist_ok=True)
    with (folder / "landing.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
