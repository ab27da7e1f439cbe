"""Merges of commits without a work tree: nothing but objects in the relay comes of them."""

from __future__ import annotations

from dataclasses import dataclass

from seatrial.agents.git.command import host_git
from seatrial.agents.git.inside import printable
from seatrial.agents.git.relay import Relay
from seatrial.errors import GitError


@dataclass(frozen=True, order=True)
class Conflict:
    """One file that two sides changed in ways that do not go together: printable path and git's kind of conflict."""

    path: str
    kind: str


@dataclass(frozen=True)
class Merged:
    """The tree of a merge, and its conflicts (the tree then has markers and is of no use)."""

    tree: str
    conflicts: tuple[Conflict, ...]


def merge_commits(relay: Relay, ours: str, theirs: str) -> Merged:
    """Merge two commits at their merge base; unrelated histories conflict in what both have.  GitError if git fails.

    Runs without attributes of the trees: a `merge=` driver or `-merge` in `.gitattributes` has no effect.
    """
    done = host_git(
        relay.path, "merge-tree", "--write-tree", "-z", "--allow-unrelated-histories", ours, theirs, check=False
    )
    if done.returncode not in (0, 1):
        raise GitError(f"git merge-tree failed in {relay.path}: {printable(done.stderr, limit=200)}")
    tree, _, rest = done.stdout.partition(b"\0")
    if done.returncode == 0:
        return Merged(tree.decode(), ())
    return Merged(tree.decode(), _conflicts(rest))


def merge_trees(relay: Relay, base: str, ours: str, theirs: str) -> Merged:
    """Merge two trees over a chosen base tree, by making three commits: git before 2.40 cannot be told a base."""
    start = relay.git("commit-tree", base, "-m", "base")
    sides = [relay.git("commit-tree", tree, "-p", start, "-m", side) for side, tree in (("o", ours), ("t", theirs))]
    return merge_commits(relay, *sides)


def tree_of(relay: Relay, commit: str) -> str:
    """Return a commit's tree; GitError if it is not there."""
    return relay.git("rev-parse", "--verify", f"{commit}^{{tree}}")


def merge_base(relay: Relay, one: str, other: str) -> str | None:
    """Return the best common ancestor, None for unrelated histories."""
    done = host_git(relay.path, "merge-base", one, other, check=False)
    return done.stdout.decode().split()[0] if done.returncode == 0 else None


def is_ancestor(relay: Relay, old: str, new: str) -> bool:
    """Return whether `old` is `new` or among its ancestors; False too if either is not there."""
    return host_git(relay.path, "merge-base", "--is-ancestor", old, new, check=False).returncode == 0


def _conflicts(rest: bytes) -> tuple[Conflict, ...]:
    """Parse what follows the tree: stages up to an empty field, then messages of (count, paths…, kind, text)."""
    fields = rest.split(b"\0")
    end = fields.index(b"")
    staged = {field.split(b"\t", 1)[1] for field in fields[:end]}
    found: dict[bytes, str] = {}
    at = end + 1
    while at < len(fields) and fields[at].isdigit():
        count = int(fields[at])
        paths, kind = fields[at + 1 : at + 1 + count], fields[at + 1 + count]
        at += count + 3
        if kind.startswith(b"CONFLICT"):
            name = kind.decode().removeprefix("CONFLICT (").removesuffix(")")
            for path in paths:
                found.setdefault(path, name)
    for path in staged:
        found.setdefault(path, "contents")
    return tuple(sorted(Conflict(printable(path), kind) for path, kind in found.items()))
