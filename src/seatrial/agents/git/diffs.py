"""What an agent changed, as text that a terminal can be given."""

from __future__ import annotations

from dataclasses import dataclass

from seatrial.agents.git.command import host_git
from seatrial.agents.git.inside import printable
from seatrial.agents.git.merging import merge_base
from seatrial.agents.git.provenance import last_landing
from seatrial.agents.git.relay import Relay, agent_refs

_PLAIN = ("-r", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index", "--find-renames", "--submodule=short")
_MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class FileChange:
    """A changed file: printable path and lines; None for binary files.  `committed` is False for work on top."""

    path: str
    added: int | None
    removed: int | None
    committed: bool


@dataclass(frozen=True)
class Diff:
    """An agent's changes since it parted from a branch.

    `committed` and `uncommitted` are patches with control characters escaped (so not for `git apply`), each cut after
    16 MiB, which `truncated` says.
    """

    agent: str
    base: str
    head: str
    work: str | None
    files: tuple[FileChange, ...]
    committed: str
    uncommitted: str
    truncated: bool


def diff(relay: Relay, name: str, *, target: str | None = None) -> Diff:
    """Return what agent `name` changed since it parted from, or last landed on, the commit `target` (default: since
    it started).

    Runs no textconv and no external diff, and shows only what was collected.  GitError if git fails, RelayError for an
    unknown agent.
    """
    refs = agent_refs(relay, name)
    landing = last_landing(relay, name, target, refs.head) if target else None
    base = landing[0] if landing else (merge_base(relay, target, refs.head) if target else None) or refs.base
    parts = ((base, refs.head, True), (refs.head, refs.work, False))
    files = [change for old, new, committed in parts for change in _stat(relay, old, new, committed)]
    patches = [_patch(relay, old, new) for old, new, _ in parts]
    return Diff(
        agent=name,
        base=base,
        head=refs.head,
        work=refs.work if refs.work != refs.head else None,
        files=tuple(files),
        committed=printable(patches[0][:_MOST_BYTES], lines=True),
        uncommitted=printable(patches[1][:_MOST_BYTES], lines=True),
        truncated=any(len(patch) > _MOST_BYTES for patch in patches),
    )


def _stat(relay: Relay, old: str, new: str, committed: bool) -> list[FileChange]:
    if old == new:
        return []
    asked = ("diff-tree", "-r", "-z", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv", old, new)
    found = []
    for line in filter(None, host_git(relay.path, *asked).stdout.split(b"\0")):
        added, removed, path = line.split(b"\t", 2)
        numbers = [int(number) if number.isdigit() else None for number in (added, removed)]
        found.append(FileChange(printable(path), numbers[0], numbers[1], committed))
    return found


def _patch(relay: Relay, old: str, new: str) -> bytes:
    return host_git(relay.path, "diff-tree", "-p", *_PLAIN, old, new).stdout if old != new else b""
