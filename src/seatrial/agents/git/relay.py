"""The relay: a host-owned bare repository per project that takes agents' work without trusting any of it.

Git *inside the sandbox* writes a pack to a pipe.  The host bounds it (`pack`), lets `git index-pack --strict` check it
in a quarantine under limits, measures its trees (`trees`), checks that nothing is missing, and only then names it.  A
pack rather than a bundle, for a bundle would carry names of refs: the agent names no ref and writes to no file of the
host; ids are all that is taken from what it says.
"""

from __future__ import annotations

import fcntl
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seatrial.agents.git.command import Repository, host_git
from seatrial.agents.git.handover import PACK, SNAPSHOT
from seatrial.agents.git.inside import Inside, InsideTo, check_name, printable
from seatrial.agents.git.pack import Limits
from seatrial.agents.git.quarantine import Quarantine
from seatrial.agents.git.source import Source
from seatrial.errors import RelayError

_MOST_SAID = 64 << 10


@dataclass(frozen=True)
class Relay:
    """A project's relay: a bare repository that borrows the objects of the user's."""

    path: Path
    object_format: str

    @property
    def at(self) -> Repository:
        """The relay as `host_git` takes it."""
        return Repository(self.path)

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Return what git says in the relay, stripped; GitError if it fails."""
        return host_git(self.path, *arguments, stdin=stdin).stdout.decode("utf-8", "surrogateescape").strip()


@dataclass(frozen=True)
class AgentRefs:
    """What the relay has of an agent: ids of commits.

    `work` is `head` with the uncommitted files on top, or `head` itself; `others` are tips of further branches.
    """

    base: str
    head: str
    work: str
    others: tuple[str, ...]

    @property
    def tips(self) -> tuple[str, ...]:
        """All of them but the base, each once."""
        return tuple(dict.fromkeys((self.head, self.work, *self.others)))


@dataclass(frozen=True)
class Collected:
    """The outcome of one collection.

    `work` is None when nothing is uncommitted.  `ahead` counts commits since the base, `files` the files that differ
    from it, `uncommitted` those of them that are not committed.  `pack_bytes` and `objects` are what came over now.
    """

    name: str
    base: str
    head: str
    work: str | None
    others: tuple[str, ...]
    ahead: int
    files: int
    uncommitted: int
    pack_bytes: int
    objects: int
    notes: tuple[str, ...]


def open_relay(path: Path, source: Source) -> Relay:
    """Return the relay of a project, making it if it is not there; safe to repeat, and after being killed.

    GitError if git fails.  Does not protect from an agent that can write to `path`: keep it in Seatrial's own folder.
    """
    if not (path / "HEAD").exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        making = path.with_name(f"{path.name}.making-{secrets.token_hex(4)}")
        making.mkdir(mode=0o700)
        host_git(making, "init", "--quiet", "--bare", "--template=", f"--object-format={source.object_format}")
        host_git(making, "config", "core.logAllRefUpdates", "always")  # what an agent throws away can be found again
        try:
            making.rename(path)
        except OSError:  # another process was first
            shutil.rmtree(making)
    info = path / "objects" / "info"
    info.mkdir(exist_ok=True)
    _write(info / "alternates", f"{source.objects}\n")
    if source.shallow:
        _write(path / "shallow", (source.common / "shallow").read_text())
    else:
        (path / "shallow").unlink(missing_ok=True)
    return Relay(path, source.object_format)


def register(relay: Relay, name: str, base: str) -> None:
    """Tell the relay of an agent that starts at `base`; GitError if that commit is not in the user's repository."""
    refs = "".join(f"update refs/agents/{check_name(name)}/{kind} {base}\n" for kind in ("base", "head", "work"))
    host_git(relay.path, "update-ref", "--stdin", stdin=refs.encode())


def forget(relay: Relay, name: str) -> None:
    """Remove all refs of an agent; ask `provenance.unmerged` first.  GitError if git fails."""
    listed = relay.git("for-each-ref", "--format=delete %(refname)", f"refs/agents/{check_name(name)}/")
    host_git(relay.path, "update-ref", "--stdin", stdin=(listed + "\n" if listed else "").encode())


def agent_refs(relay: Relay, name: str) -> AgentRefs:
    """Return what the relay has of an agent; RelayError if it knows none of that name."""
    prefix = f"refs/agents/{check_name(name)}/"
    listed = relay.git("for-each-ref", "--format=%(objectname) %(refname)", prefix).splitlines()
    refs = {line.split(" ", 1)[1].removeprefix(prefix): line.split(" ", 1)[0] for line in listed}
    if not {"base", "head", "work"} <= refs.keys():
        raise RelayError(f"The relay knows no agent '{name}'.")
    others = tuple(value for key, value in sorted(refs.items()) if key.startswith("other/"))
    return AgentRefs(refs["base"], refs["head"], refs["work"], others)


def collect(relay: Relay, name: str, inside: Inside, inside_to: InsideTo, limits: Limits | None = None) -> Collected:
    """Bring an agent's commits and uncommitted files into the relay, as far as they are not there yet.

    Uncommitted files (but ignored ones) become a commit on no branch; other branches and the stash come along, so that
    nothing is lost by deleting the clone.  Raises RelayError in one sentence if git inside fails, lies or hands over
    what is not allowed; the relay is then as before.  Does not look into nested repositories and submodules, and does
    not judge contents: what is sound for git may still be harmful to run (`attention` lists where to look).
    """
    limits = limits or Limits()
    with _locked(relay, name):
        Quarantine.sweep(relay.path, name)
        before = agent_refs(relay, name)
        after, partly = _say(relay, name, before, inside, limits)
        missing = _missing(relay, after.tips)
        pack_bytes = objects = 0
        if missing:
            with Quarantine.open(relay.path, name, relay.object_format, limits) as quarantine:
                haves = ("--", *dict.fromkeys((before.base, *before.tips)))
                with quarantine.pack.open("wb") as output:
                    status = inside_to(["sh", "-c", PACK, "sh", *missing, *haves], output, limits.pack_bytes)
                if status:
                    raise RelayError(f"git inside the sandbox of '{name}' could not pack its work (status {status}).")
                pack_bytes = quarantine.pack.stat().st_size
                objects = quarantine.check(after.tips, (before.base, *before.tips), before.base)
                quarantine.accept()
        else:
            _only_commits(relay, after.tips)
        _name(relay, name, before, after)
    return _summary(relay, name, after, pack_bytes, objects, partly)


def _say(relay: Relay, name: str, before: AgentRefs, inside: Inside, limits: Limits) -> tuple[AgentRefs, bool]:
    done = inside(["sh", "-c", SNAPSHOT, "sh", f"seatrial/{name}"], None)
    if done.returncode:
        lines = [line for line in done.stderr[:_MOST_SAID].splitlines() if line.strip()]
        told = printable(lines[-1] if lines else b"it said nothing", limit=200)
        raise RelayError(f"git inside the sandbox of '{name}' failed: {told}", returncode=done.returncode)
    digits = {"sha1": 40, "sha256": 64}[relay.object_format]
    pattern = rb"(head|work|other) ([0-9a-f]{%d})|partly" % digits
    said = [re.fullmatch(pattern, line) for line in done.stdout[:_MOST_SAID].splitlines()]
    if len(done.stdout) > _MOST_SAID or not all(said) or len(said) > limits.tips + 3:
        raise RelayError(f"git inside the sandbox of '{name}' answered with something that is not an answer.")
    pairs = [(found[1], found[2].decode()) for found in said if found and found[1]]
    heads = [value for kind, value in pairs if kind == b"head"]
    works = [value for kind, value in pairs if kind == b"work"]
    if len(heads) != 1 or len(works) != 1:
        raise RelayError(f"git inside the sandbox of '{name}' named no head.")
    others = sorted({value for kind, value in pairs if kind == b"other"} - {heads[0], works[0], before.base})
    after = AgentRefs(before.base, heads[0], works[0], tuple(others))
    return after, any(found and found[0] == b"partly" for found in said)


def _missing(relay: Relay, tips: tuple[str, ...]) -> list[str]:
    asked = "".join(f"{tip}\n" for tip in tips).encode()
    answers = host_git(relay.path, "cat-file", "--batch-check=%(objecttype)", stdin=asked).stdout.splitlines()
    return [tip for tip, answer in zip(tips, answers, strict=True) if answer.endswith(b"missing")]


def _only_commits(relay: Relay, tips: tuple[str, ...]) -> None:
    asked = "".join(f"{tip}\n" for tip in tips).encode()
    answers = host_git(relay.path, "cat-file", "--batch-check=%(objecttype)", stdin=asked).stdout.split()
    if any(answer != b"commit" for answer in answers):
        raise RelayError("The agent named something as its work that is not a commit.")


def _name(relay: Relay, name: str, before: AgentRefs, after: AgentRefs) -> None:
    refs = [f"update refs/agents/{name}/head {after.head}", f"update refs/agents/{name}/work {after.work}"]
    refs += [f"update refs/agents/{name}/other/{tip} {tip}" for tip in after.others]
    refs += [f"delete refs/agents/{name}/other/{tip}" for tip in before.others if tip in (after.head, after.work)]
    host_git(relay.path, "update-ref", "--stdin", stdin=("\n".join(refs) + "\n").encode())


def _summary(relay: Relay, name: str, refs: AgentRefs, pack_bytes: int, objects: int, partly: bool) -> Collected:
    def differ(old: str, new: str) -> int:
        asked = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new)
        return host_git(relay.path, *asked).stdout.count(b"\0") if old != new else 0

    notes = [f"{len(refs.others)} other branches or stashes were taken along."] if refs.others else []
    if partly:
        notes.append("Some uncommitted files could not be read and were left out.")
    return Collected(
        name=name,
        base=refs.base,
        head=refs.head,
        work=refs.work if refs.work != refs.head else None,
        others=refs.others,
        ahead=int(relay.git("rev-list", "--count", refs.head, f"^{refs.base}")),
        files=differ(refs.base, refs.work),
        uncommitted=differ(refs.head, refs.work),
        pack_bytes=pack_bytes,
        objects=objects,
        notes=tuple(notes),
    )


@contextmanager
def _locked(relay: Relay, name: str) -> Iterator[None]:
    folder = relay.path / "seatrial"
    folder.mkdir(exist_ok=True)
    with (folder / f"{check_name(name)}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        fresh.write_text(text)
        fresh.replace(path)
