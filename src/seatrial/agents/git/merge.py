"""What landing an agent's work would do, found out on objects alone; `landing` does it.

Nothing here moves a ref or a file of the user.  New commits are written to the relay only.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from seatrial.agents.git.attention import Attention, attention
from seatrial.agents.git.command import host_git, user_git
from seatrial.agents.git.inside import printable
from seatrial.agents.git.merging import Conflict, Merged, merge_base, merge_commits, merge_trees, tree_of
from seatrial.agents.git.provenance import (
    Committer,
    Provenance,
    commit_fields,
    committer_of,
    last_landing,
    rewrite,
    with_trailers,
    write_commit,
)
from seatrial.agents.git.relay import AgentRefs, Relay, agent_refs
from seatrial.agents.git.source import Source
from seatrial.errors import GitError

STRATEGIES = ("merge", "squash", "rebase")
_MOST_COMMITS = 5_000


@dataclass(frozen=True)
class Landed:
    """A commit of the agent and what becomes of it; `new` is empty where it is folded into another."""

    old: str
    new: str
    subject: str


@dataclass(frozen=True)
class MergePlan:
    """All that landing an agent's work would do.  Immutable; `hash` names it; `landing.execute_merge` takes only this.

    `into` is the user's branch, `target` its commit when this was planned, `head` the agent's commit, `base` where the
    two parted, `result` what `into` becomes: None if there are conflicts.  Texts are printable as they are.
    """

    agent: str
    strategy: str
    into: str
    target: str
    head: str
    base: str
    result: str | None
    tree: str | None
    commits: tuple[Landed, ...]
    files: tuple[str, ...]
    conflicts: tuple[Conflict, ...]
    attention: tuple[Attention, ...]
    uncommitted: int
    signed: bool
    notes: tuple[str, ...]

    def canonical(self) -> str:
        """Return the plan as JSON with sorted keys and no spaces: what `hash` is taken of."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @property
    def hash(self) -> str:
        """SHA-256 of `canonical`, in hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


@dataclass(frozen=True)
class Preview:
    """Whether the work of two agents goes together."""

    one: str
    other: str
    conflicts: tuple[Conflict, ...]


def plan_merge(
    relay: Relay,
    source: Source,
    name: str,
    *,
    strategy: str = "merge",
    into: str | None = None,
    harness: str = "",
    run: str = "",
    sign: bool = False,
    uncommitted: bool = False,
    message: str | None = None,
) -> MergePlan:
    """Plan landing agent `name` on a branch of the user (default: the one checked out).

    `merge` keeps the commits and adds a merge commit, `squash` makes one commit, `rebase` a straight line of them.
    `uncommitted` takes the agent's uncommitted files along as a last commit.  Raises GitError if there is no such
    branch, nothing to land, or no user to be committer.  Attributes such as `merge=` have no effect.  Does not judge
    the contents; see `attention`.
    """
    if strategy not in STRATEGIES:
        raise GitError(f"'{printable(strategy)}' is no strategy; there are {', '.join(STRATEGIES)}.")
    into = into or source.branch()
    if into is None:
        raise GitError("HEAD is detached, so there is no branch to land on.", hint="Name one, for example --into main.")
    refs = agent_refs(relay, name)
    target = _branch(source, into)
    head = refs.work if uncommitted else refs.head
    landing = last_landing(relay, name, target, head)
    base = landing[0] if landing else merge_base(relay, target, head)
    if base is None:
        raise GitError(f"The work of '{name}' has no history in common with {printable(into)}.")
    if head in (base, refs.base):
        raise GitError(f"Nothing to land: {printable(into)} has all commits of '{name}'.", hint=_hint(refs))
    provenance = Provenance(name, harness, run, refs.base)
    work = _Work(relay, source, target, head, base, provenance, committer_of(source, sign=sign), message, into, landing)
    made = {"merge": _merge, "squash": _squash, "rebase": _rebase}[strategy](work)
    changed_to = made.result or head
    changes = raw_changes(relay, target if made.result else base, changed_to)
    left = len(raw_changes(relay, head, refs.work))
    return MergePlan(
        agent=name,
        strategy=strategy,
        into=into,
        target=target,
        head=head,
        base=base,
        result=made.result,
        tree=tree_of(relay, made.result) if made.result else None,
        commits=made.commits,
        files=tuple(printable(change[0]) for change in changes),
        conflicts=made.conflicts,
        attention=attention(changes),
        uncommitted=left,
        signed=sign,
        notes=(*made.notes, *_notes(work, refs, left)),
    )


def preview_between(relay: Relay, names: Sequence[str]) -> tuple[Preview, ...]:
    """Return for each pair of agents whether their work, uncommitted files included, conflicts.

    GitError if git fails, RelayError for an unknown agent.  Does not find changes that merge but do not work together.
    """
    tips = {name: agent_refs(relay, name).work for name in names}
    pairs = itertools.combinations(names, 2)
    return tuple(Preview(a, b, merge_commits(relay, tips[a], tips[b]).conflicts) for a, b in pairs)


def raw_changes(relay: Relay, old: str, new: str) -> tuple[tuple[bytes, str, str], ...]:
    """Return the files that differ between two commits: path, old mode, new mode (`000000`: not there)."""
    fields = host_git(relay.path, "diff-tree", "-r", "-z", "--raw", "--no-renames", old, new).stdout.split(b"\0")
    pairs = zip(fields[0::2], fields[1::2], strict=False)
    return tuple((path, meta[1:7].decode(), meta[8:14].decode()) for meta, path in pairs)


@dataclass(frozen=True)
class _Work:
    relay: Relay
    source: Source
    target: str
    head: str
    base: str
    provenance: Provenance
    committer: Committer
    message: str | None
    into: str
    landing: tuple[str, str] | None

    def merged(self) -> Merged:
        """The head into the target; over what was landed last, if anything was."""
        if self.landing is None:
            return merge_commits(self.relay, self.target, self.head)
        return merge_trees(self.relay, *(tree_of(self.relay, c) for c in (self.landing[0], self.target, self.head)))

    def twin(self) -> dict[str, str]:
        """The agent's last landed commit → what it was rewritten as, if it was landed by a merge."""
        if self.landing is None:
            return {}
        _, parents, _ = commit_fields(self.relay, self.landing[1])
        same = len(parents) == 2 and tree_of(self.relay, parents[1]) == tree_of(self.relay, self.landing[0])
        return {self.landing[0]: parents[1]} if same else {}

    def commits(self, *options: str, again: bool = False) -> list[str]:
        """New commits of the agent, parents first; `again`: landed ones too."""
        borders = (f"^{self.target}", f"^{self.provenance.base}")  # what was there when the agent began is not its own
        landed = (f"^{self.landing[0]}",) if self.landing and not again else ()
        asked = ("rev-list", "--reverse", "--topo-order", *options, self.head, *borders, *landed)
        found = self.relay.git(*asked).split()
        if len(found) > _MOST_COMMITS:
            raise GitError(f"{len(found)} commits are too many to land one by one.", hint="Use --strategy squash.")
        return found

    def subject(self, commit: str) -> str:
        return printable(self.relay.git("show", "--no-patch", "--format=%s", commit), limit=120)


@dataclass(frozen=True)
class _Made:
    result: str | None
    commits: tuple[Landed, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()


def _merge(work: _Work) -> _Made:
    merged = work.merged()
    if merged.conflicts:
        return _Made(None, conflicts=merged.conflicts)
    twin = work.twin()
    again = work.landing is not None and not twin
    commits = work.commits(again=again)
    new = rewrite(work.relay, work.source, commits, work.provenance, work.committer, twin)
    notes = ("Commits that were squashed or rebased before appear in the history again.",) if again else ()
    landed = tuple(Landed(old, new[old], work.subject(old)) for old in commits)
    text = work.message or f"Merge the work of agent {work.provenance.agent}\n"
    result = _own_commit(work, merged.tree, [work.target, new.get(work.head, work.head)], text)
    return _Made(result, landed, notes=notes)


def _squash(work: _Work) -> _Made:
    merged = work.merged()
    if merged.conflicts:
        return _Made(None, conflicts=merged.conflicts)
    commits = work.commits()
    landed = tuple(Landed(old, "", work.subject(old)) for old in commits)
    told = "".join(f"- {commit.subject}\n" for commit in landed[:100])
    text = work.message or f"Land the work of agent {work.provenance.agent}\n\n{told}"
    return _Made(_own_commit(work, merged.tree, [work.target], text), landed)


def _rebase(work: _Work) -> _Made:
    tip, landed = work.target, []
    for old in work.commits("--no-merges"):
        headers, parents, message = commit_fields(work.relay, old)
        before = tree_of(work.relay, parents[0]) if parents else _empty_tree(work.relay)
        here = tree_of(work.relay, tip)
        merged = merge_trees(work.relay, before, here, tree_of(work.relay, old))
        subject = work.subject(old)
        if merged.conflicts:
            told = tuple(Conflict(each.path, f"{each.kind} in {old[:12]}") for each in merged.conflicts)
            return _Made(None, conflicts=told)
        if merged.tree == here:
            landed.append(Landed(old, "", subject))
            continue
        message = with_trailers(message, work.provenance.trailers())
        tip = write_commit(work.relay, work.source, merged.tree, [tip], message, headers, work.committer)
        landed.append(Landed(old, tip, subject))
    if tip == work.target:
        raise GitError(f"Nothing to land: all changes of '{work.provenance.agent}' are there already.")
    merges = len(work.commits("--merges"))
    notes = (f"{merges} merge commits are left out; what they resolved is not.",) if merges else ()
    if merges and not _same_outcome(work, tip):
        raise GitError("The agent's merges changed things of their own, which a rebase would lose.", hint="Use merge.")
    return _Made(tip, tuple(landed), notes=notes)


def _same_outcome(work: _Work, tip: str) -> bool:
    merged = work.merged()
    return not merged.conflicts and merged.tree == tree_of(work.relay, tip)


def _own_commit(work: _Work, tree: str, parents: list[str], message: str) -> str:
    """Write the merge or squash commit, dated like the agent's last: the same plan has the same ids."""
    headers, _, _ = commit_fields(work.relay, work.head)
    when = headers[b"committer"].rsplit(b"> ", 1)[1]
    author = f"{work.committer.name} <{work.committer.email}> ".encode() + when
    own = {b"author": author, b"committer": author}
    text = with_trailers(message.encode("utf-8", "surrogateescape"), work.provenance.trailers())
    return write_commit(work.relay, work.source, tree, parents, text, own, work.committer)


def _empty_tree(relay: Relay) -> str:
    return host_git(relay.path, "hash-object", "-t", "tree", "-w", "--stdin", stdin=b"").stdout.decode().strip()


def _branch(source: Source, into: str) -> str:
    asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/heads/{into}^{{commit}}")
    done = user_git(source.at, *asked, check=False)
    if done.returncode:
        raise GitError(f"{source.root} has no branch '{printable(into, limit=80)}'.")
    return done.stdout.decode().strip()


def _notes(work: _Work, refs: AgentRefs, left: int) -> list[str]:
    notes = [f"{left} uncommitted files of '{work.provenance.agent}' stay out."] if left else []
    others = int(work.relay.git("rev-list", "--count", refs.base, f"^{work.target}"))
    if others:
        notes.append(f"The agent began with {others} commits of yours that {printable(work.into)} has not.")
    asked = ("log", "--no-walk", "--stdin", "-z", "--format=%an %ae %B")
    told = host_git(work.relay.path, *asked, stdin="\n".join(work.commits()).encode()).stdout.split(b"\0")
    odd = sum(printable(text, lines=True) != text.decode("utf-8", "surrogateescape") for text in told)
    if odd:  # kept, for the bytes of messages are; but `git log` would give them to the terminal
        notes.append(f"{odd} commits have control or invisible characters in their message or author.")
    return notes


def _hint(refs: AgentRefs) -> str | None:
    return "It has uncommitted files; --uncommitted takes them along." if refs.work != refs.head else None
