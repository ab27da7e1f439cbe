"""Which commits came from which agent: trailers written when work is landed, and what has not been landed yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from seatrial.agents.git.command import host_git, user_git
from seatrial.agents.git.inside import check_name
from seatrial.agents.git.merging import is_ancestor, merge_base, merge_commits, tree_of
from seatrial.agents.git.relay import Relay, agent_refs
from seatrial.agents.git.source import Source
from seatrial.errors import GitError

_TRAILER = re.compile(rb"[A-Za-z0-9-]+[ \t]*:.*|[ \t]+.*|\(cherry picked from commit .*\)")
_CLAIM = re.compile(rb"^([ \t]*)(seatrial-[a-z0-9-]*[ \t]*:)", re.IGNORECASE | re.MULTILINE)
_KEPT_HEADERS = (b"tree", b"author", b"committer", b"encoding")
_MOST_COMPARED = 2_000


@dataclass(frozen=True)
class Provenance:
    """What every landed commit says of itself."""

    agent: str
    harness: str
    run: str
    base: str

    def trailers(self) -> tuple[tuple[str, str], ...]:
        """Return the trailers in order; values on one line."""
        pairs = (("Agent", self.agent), ("Harness", self.harness), ("Run", self.run), ("Base", self.base))
        return tuple((f"Seatrial-{key}", " ".join(value.split())) for key, value in pairs if value)


@dataclass(frozen=True)
class Committer:
    """Who lands: name and address as git knows the user, and whether their key signs."""

    name: str
    email: str
    sign: bool = False


@dataclass(frozen=True)
class Unmerged:
    """What would be lost with an agent: commits that no branch of the user has, and the files they change."""

    commits: tuple[str, ...]
    files: tuple[bytes, ...]

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.commits)


def committer_of(source: Source, *, sign: bool) -> Committer:
    """Return the user as their git configuration names them; GitError if it names nobody."""
    ident = user_git(source.at, "var", "GIT_COMMITTER_IDENT", check=False)
    found = re.fullmatch(r"(.*) <(.*)> \d+ [+-]\d{4}", ident.stdout.decode("utf-8", "replace").strip())
    if ident.returncode or not found:
        raise GitError("git does not know who you are.", hint="git config --global user.name … and user.email …")
    return Committer(found[1], found[2], sign)


def with_trailers(message: bytes, trailers: tuple[tuple[str, str], ...]) -> bytes:
    """Return a commit message with trailers after its own ones.

    All other bytes stay, but for lines that already claim to be Seatrial's: those are quoted with `> `, for an agent
    must not be able to sign as another.
    """
    message = _CLAIM.sub(rb"\1> \2", message).rstrip(b"\n") + b"\n"
    last = message.rstrip(b"\n").rsplit(b"\n\n", 1)
    ends_in_trailers = len(last) == 2 and all(_TRAILER.fullmatch(line) for line in last[1].split(b"\n"))
    lines = b"".join(f"{key}: {value}\n".encode() for key, value in trailers)
    return message + (b"" if ends_in_trailers else b"\n") + lines


def rewrite(
    relay: Relay,
    source: Source,
    commits: list[str],
    provenance: Provenance,
    committer: Committer,
    parents: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write each commit again with trailers, the user as committer and new parents; return old id → new id.

    `commits` are in order, parents first; authors, all dates, trees and messages are kept, signatures of the agent
    dropped.  `parents` maps further parents.  New objects are in the relay only.  GitError if git or signing fails.
    """
    new = dict(parents or {})
    for old in commits:
        headers, parent_ids, message = commit_fields(relay, old)
        message = with_trailers(message, provenance.trailers())
        tree = headers.pop(b"tree").decode()
        mapped = [new.get(parent, parent) for parent in parent_ids]
        new[old] = write_commit(relay, source, tree, mapped, message, headers, committer)
    return new


def commit_fields(relay: Relay, commit: str) -> tuple[dict[bytes, bytes], list[str], bytes]:
    """Return a commit's headers worth keeping (tree, author, committer, encoding), its parents and its message."""
    raw = host_git(relay.path, "cat-file", "commit", commit).stdout
    head, _, message = raw.partition(b"\n\n")
    lines = re.sub(rb"\n ", b"\0", head).split(b"\n")  # continuation lines, of signatures, stay with their header
    fields = [(key, value) for key, _, value in (line.partition(b" ") for line in lines)]
    parents = [value.decode() for key, value in fields if key == b"parent"]
    return {key: value for key, value in fields if key in _KEPT_HEADERS}, parents, message


def write_commit(
    relay: Relay,
    source: Source,
    tree: str,
    parents: list[str],
    message: bytes,
    headers: Mapping[bytes, bytes],
    committer: Committer,
) -> str:
    """Write a commit into the relay and return its id.

    `headers` has `author` and `committer` as in a commit; of the latter only the date is used.  Signing runs the
    user's own signing program on the commit, with the user's own configuration.  GitError if that fails.
    """
    when = headers[b"committer"].rsplit(b"> ", 1)[1]
    person = f"{committer.name} <{committer.email}>".encode() + b" " + when
    lines = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in parents)]
    lines += [b"author " + headers[b"author"], b"committer " + person]
    if b"encoding" in headers:
        lines.append(b"encoding " + headers[b"encoding"])
    raw = b"\n".join(lines) + b"\n\n" + message
    if committer.sign:
        return _signed(relay, source, tree, parents, message, headers, committer, when)
    return host_git(relay.path, "hash-object", "-t", "commit", "-w", "--stdin", stdin=raw).stdout.decode().strip()


def record_landing(relay: Relay, name: str, head: str, result: str) -> None:
    """Remember that `result`, once it is in the user's repository, contains the agent's `head`; before it is moved."""
    host_git(relay.path, "update-ref", f"refs/agents/{check_name(name)}/landed/{result}", head)


def last_landing(relay: Relay, name: str, target: str, head: str) -> tuple[str, str] | None:
    """Return (agent's commit, result) of the last landing that both `target` and `head` build on, None without one.

    What is landed gets new ids, so git alone would take an agent that goes on for one that begins anew.
    """
    prefix = f"refs/agents/{check_name(name)}/landed/"
    best: tuple[str, str] | None = None
    for line in relay.git("for-each-ref", "--format=%(objectname) %(refname)", prefix).splitlines():
        landed, result = line.split(" ")[0], line.rsplit("/", 1)[1]
        if is_ancestor(relay, landed, head) and is_ancestor(relay, result, target) and (
            best is None or is_ancestor(relay, best[0], landed)
        ):  # fmt: skip
            best = (landed, result)
    base = merge_base(relay, target, head)
    return None if best and base and is_ancestor(relay, best[0], base) else best


def unmerged(relay: Relay, source: Source, name: str) -> Unmerged:
    """Return what an agent has that the user's repository has not; empty: it may be deleted.

    Work counts as there if a branch, remote branch or tag of the user reaches it, if a landing of it is reached, if
    each of its commits has a twin (same patch) on the user's branch, or if merging it would change nothing.  Only what
    was collected is looked at: collect first.  GitError if git fails, RelayError for an unknown agent.
    """
    refs = agent_refs(relay, name)
    listed = source.git("for-each-ref", "--format=%(objectname)", "refs/heads", "refs/remotes", "refs/tags")
    kept = _commits_only(relay, list(dict.fromkeys(listed.splitlines())))
    prefix = f"refs/agents/{name}/landed/"
    for line in relay.git("for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines():
        ref, landed = line.split(" ")
        if any(is_ancestor(relay, ref.removeprefix(prefix), tip) for tip in kept):
            kept.append(landed)
    current = (
        user_git(source.at, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False).stdout.decode().strip()
    )
    left: list[str] = []
    files: set[bytes] = set()
    for tip in refs.tips:
        borders = "".join(f"^{commit}\n" for commit in (*kept, refs.base))
        new = relay.git("rev-list", "--topo-order", "--stdin", stdin=f"{tip}\n{borders}".encode()).split()
        if not new or (current and _contained(relay, current, tip)):
            continue
        left += [commit for commit in new if commit not in left]
        asked = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", refs.base, tip)
        files.update(filter(None, host_git(relay.path, *asked).stdout.split(b"\0")))
    return Unmerged(tuple(left), tuple(sorted(files)))


def _contained(relay: Relay, current: str, tip: str) -> bool:
    """Whether a commit's changes are in another history by content: nothing to merge, or each patch has a twin."""
    base = merge_base(relay, current, tip)
    if base is None:
        return False
    merged = merge_commits(relay, current, tip)
    if not merged.conflicts and merged.tree == tree_of(relay, current):
        return True
    if int(relay.git("rev-list", "--count", f"--max-count={_MOST_COMPARED}", f"{base}..{current}")) >= _MOST_COMPARED:
        return False
    if relay.git("rev-list", "--merges", "--max-count=1", f"{current}..{tip}"):
        return False  # a merge may hold changes of its own, which patches do not show
    alone = ("rev-list", "--cherry-pick", "--right-only", "--no-merges", "--max-count=1", f"{current}...{tip}")
    return not relay.git(*alone)


def _commits_only(relay: Relay, names: list[str]) -> list[str]:
    asked = "".join(f"{name}^{{commit}}\n" for name in names).encode()
    said = host_git(relay.path, "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=asked).stdout
    return [line.split()[0].decode() for line in said.splitlines() if line.endswith(b" commit")]


def _signed(
    relay: Relay,
    source: Source,
    tree: str,
    parents: list[str],
    message: bytes,
    headers: Mapping[bytes, bytes],
    committer: Committer,
    when: bytes,
) -> str:
    author = re.fullmatch(rb"(.*) <(.*)> (.*)", headers[b"author"], re.DOTALL)
    if author is None:
        raise GitError("An agent's commit names its author in a form that cannot be signed.")
    texts = [part.decode("utf-8", "surrogateescape") for part in (*author.groups(), when)]
    variables = {
        "GIT_OBJECT_DIRECTORY": str(relay.path / "objects"),
        "GIT_AUTHOR_NAME": texts[0],
        "GIT_AUTHOR_EMAIL": texts[1],
        "GIT_AUTHOR_DATE": texts[2],
        "GIT_COMMITTER_NAME": committer.name,
        "GIT_COMMITTER_EMAIL": committer.email,
        "GIT_COMMITTER_DATE": texts[3],
    }
    encoding = headers.get(b"encoding", b"UTF-8").decode("ascii", "replace")
    tail = [part for parent in parents for part in ("-p", parent)]
    arguments = ("-c", f"i18n.commitEncoding={encoding}", "commit-tree", "-S", *tail, "-F", "-", tree)
    return user_git(source.at, *arguments, stdin=message, variables=variables).stdout.decode().strip()
