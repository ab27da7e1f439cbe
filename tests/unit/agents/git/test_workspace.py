from __future__ import annotations

import os
from pathlib import Path

import pytest

from seatrial.agents.git import workspace as workspace_module
from seatrial.agents.git.checkout import base_checkouts, prune_base_checkouts
from seatrial.agents.git.relay import collect
from seatrial.agents.git.source import find_source
from seatrial.agents.git.workspace import create_workspace, release_base
from seatrial.errors import AgentError, GitError, ProjectError
from tests.unit.agents.git.sandbox import OBJECTS, OWNER, Sandbox, commit_file, git, needs_sandbox, new_yard


def make(source: Path, target: Path, name: str = "ann", base: str | None = None):
    return create_workspace(source, target, name=name, base=base, owner=OWNER, objects_inside=OBJECTS)


@needs_sandbox
def test_a_clone_borrows_everything_and_is_clean(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    assert agent.run("git status --porcelain; git log --oneline | wc -l; git branch --show-current; cat src/c.txt") == (
        "1\nseatrial/ann\nc"
    )
    assert agent.run("find .git/objects -type f") == ".git/objects/info/alternates"
    assert agent.run("git remote") == ""
    assert not (agent.workspace.root / ".git" / "hooks").exists()


@needs_sandbox
def test_the_users_objects_cannot_be_written(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    assert agent.run(f"touch {OBJECTS}/x 2>/dev/null || echo refused") == "refused"


@needs_sandbox
@pytest.mark.parametrize("kind", ["worktree", "subfolder", "bare", "borrowing", "shallow"])
def test_sources_of_all_kinds(tmp_path: Path, kind: str) -> None:
    yard = new_yard(tmp_path)
    repository = yard.repository
    head = commit_file(repository, "second", "2\n")
    source, root = repository / "src", repository
    if kind == "worktree":
        git(repository, "worktree", "add", "-q", "-b", "topic", str(tmp_path / "linked"))
        head = commit_file(tmp_path / "linked", "third", "3\n")
        source = tmp_path / "linked"
    elif kind == "bare":
        git(tmp_path, "clone", "-q", "--bare", str(repository), "bare.git")
        source = root = tmp_path / "bare.git"
    elif kind == "borrowing":
        git(tmp_path, "clone", "-q", "--shared", str(repository), "borrowing")
        source = root = tmp_path / "borrowing"
        head = commit_file(source, "fourth", "4\n")
    elif kind == "shallow":
        git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "shallow")
        source = root = tmp_path / "shallow"
    assert find_source(source).root == root
    made = make(source, tmp_path / "agents" / "x")
    assert made.base == head
    agent = Sandbox(made)
    assert agent.run("git rev-parse HEAD; git status --porcelain; git fsck 2>&1 | grep -v dangling || true") == head
    assert len(made.borrowed) == (2 if kind == "borrowing" else 1)


def test_a_repository_without_commits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    with pytest.raises(ProjectError, match="no commit yet"):
        make(tmp_path / "empty", tmp_path / "x")
    with pytest.raises(ProjectError, match="not inside a git repository"):
        make(tmp_path, tmp_path / "x")


def test_bad_names_bases_and_targets_are_refused(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    for name in ("", "../x", "a/b", "-x", "a..b", "x.lock", "a\nb"):
        with pytest.raises(AgentError, match="cannot be the name"):
            make(yard.repository, tmp_path / "x", name)
    with pytest.raises(ProjectError, match="no commit 'nowhere'"):
        make(yard.repository, tmp_path / "x", base="nowhere")
    with pytest.raises(ProjectError, match="no commit '--all'"):
        make(yard.repository, tmp_path / "x", base="--all")
    with pytest.raises(GitError, match="exists already"):
        make(yard.repository, tmp_path / "agents")


def test_what_is_not_taken_along_is_said(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    (yard.repository / "untracked").write_text("u")
    (yard.repository / "b.txt").write_text("changed")
    (yard.repository / ".git" / "lfs").mkdir()
    git(yard.repository, "checkout", "-q", "--detach")
    made = make(yard.repository, tmp_path / "x")
    assert made.uncommitted == 2
    assert [note.split(":")[0].split(" ", 1)[1][:12] for note in made.notes]
    assert any("detached" in note for note in made.notes)
    assert any("LFS" in note for note in made.notes)
    assert (yard.repository / ".git" / "lfs", "/run/seatrial/lfs") in made.read_only


def test_an_existing_branch_is_gone_on_with(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    git(yard.repository, "checkout", "-q", "-b", "seatrial/ann")
    tip = commit_file(yard.repository, "more", "m")
    git(yard.repository, "checkout", "-q", "main")
    made = make(yard.repository, tmp_path / "x")
    assert made.base == tip
    assert "exists already" in made.notes[0]


@needs_sandbox
def test_the_users_gc_does_not_take_the_base_away(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    commit_file(yard.repository, "doomed", "d")
    agent = yard.agent("ann")
    git(yard.repository, "reset", "-q", "--hard", "HEAD~1")
    git(yard.repository, "reflog", "expire", "--expire=now", "--all")
    git(yard.repository, "gc", "-q", "--prune=now")
    assert agent.run("git fsck; git show HEAD:doomed") == "d"
    release_base(yard.source, "ann")
    assert git(yard.repository, "for-each-ref", "refs/seatrial") == ""


def test_no_hook_or_filter_of_the_user_is_copied_or_run(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    hook = yard.repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    git(yard.repository, "config", "filter.x.smudge", f"touch {tmp_path}/ran; cat")
    commit_file(yard.repository, ".gitattributes", "* filter=x\n")
    (tmp_path / "ran").unlink(missing_ok=True)
    make(yard.repository, tmp_path / "x")
    assert not (tmp_path / "ran").exists()


@needs_sandbox
def test_big_trees_are_overlays_on_a_shared_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace_module, "PLAIN_FILES", 2)
    yard, cache = new_yard(tmp_path), tmp_path / "bases"
    first = yard.agent("ann", cache=cache)
    assert first.workspace.root is None
    assert first.run("git status --porcelain; cat b.txt; echo changed > b.txt; rm a.txt; git status --porcelain") == (
        "b\n D a.txt\n M b.txt"
    )
    got = collect(yard.relay, "ann", first.inside, first.inside_to)
    assert (got.uncommitted, got.ahead) == (2, 0)
    (yard.repository / "b.txt").unlink()
    commit_file(yard.repository, "newer", "n")
    second = yard.agent("bob", cache=cache)
    assert second.workspace.lower == first.workspace.lower
    assert second.workspace.first_commands
    assert second.run("git status --porcelain; ls; git log --oneline | wc -l") == "a.txt\nnewer\nsrc\n2"
    assert len(base_checkouts(cache)) == 1


def test_torn_checkouts_are_removed_and_used_ones_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace_module, "PLAIN_FILES", 1)
    monkeypatch.setattr("seatrial.agents.git.checkout.MOST_CHANGED", -1)
    yard, cache = new_yard(tmp_path), tmp_path / "bases"
    (cache / "making-dead" / "tree").mkdir(parents=True)
    first = yard.agent("ann", cache=cache)
    assert not (cache / "making-dead").exists()
    commit_file(yard.repository, "newer", "n")
    yard.agent("bob", cache=cache)
    assert len(base_checkouts(cache)) == 2
    assert first.workspace.lower is not None
    assert prune_base_checkouts(cache, [first.workspace.lower]) == []
    assert prune_base_checkouts(cache, []) == [first.workspace.base]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a repository of somebody else")
def test_a_repository_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yard = new_yard(tmp_path)
    os.chown(yard.repository / ".git", 12345, 12345)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global"))
    with pytest.raises(ProjectError, match="belongs to somebody else"):
        find_source(yard.repository)
    (tmp_path / "global").write_text(f"[safe]\n\tdirectory = {yard.repository}\n")
    assert find_source(yard.repository).root == yard.repository


@needs_sandbox
def test_colons_and_quotes_in_paths(tmp_path: Path) -> None:
    yard = new_yard(tmp_path / 'a:b "c"\\d é')
    agent = yard.agent("ann")
    agent.run("echo x > x; git add x; git commit -qm x")
    assert collect(yard.relay, "ann", agent.inside, agent.inside_to).ahead == 1
