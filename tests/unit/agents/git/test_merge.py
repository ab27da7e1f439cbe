from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from seatrial.agents.git.diffs import diff
from seatrial.agents.git.landing import execute_merge, publish_branch
from seatrial.agents.git.merge import MergePlan, plan_merge, preview_between
from seatrial.agents.git.provenance import unmerged, with_trailers
from seatrial.agents.git.relay import collect, open_relay
from seatrial.agents.git.source import find_source
from seatrial.errors import GitError, MergeConflictError
from tests.unit.agents.git.sandbox import Sandbox, Yard, commit_file, git, needs_sandbox, new_yard

pytestmark = needs_sandbox
WORK = """
sed -i 's/line 3$/line three/' a.txt; git commit -qam 'Third line'
echo new > new.txt; git add new.txt; printf 'New file\n\nBody.\n\nReviewed-by: Bob\n' | git commit -qF -
"""


def worked(tmp_path: Path, script: str = WORK) -> tuple[Yard, Sandbox]:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run(script)
    collect(yard.relay, "ann", agent.inside, agent.inside_to)
    return yard, agent


def plan(yard: Yard, **options) -> MergePlan:
    return plan_merge(yard.relay, yard.source, "ann", harness="scripted", run="r1", **options)


@pytest.mark.parametrize("strategy", ["merge", "squash", "rebase"])
def test_landing_by_each_strategy(tmp_path: Path, strategy: str) -> None:
    yard, _ = worked(tmp_path)
    mine = commit_file(yard.repository, "mine", "m\n", "Mine")
    made = plan(yard, strategy=strategy)
    assert git(yard.repository, "rev-parse", "main") == mine
    assert made.hash == plan(yard, strategy=strategy).hash
    assert unmerged(yard.relay, yard.source, "ann")
    done = execute_merge(made, yard.relay, yard.source)
    assert (done.old, done.new) == (mine, made.result)
    assert git(yard.repository, "rev-parse", "HEAD") == made.result
    assert git(yard.repository, "status", "--porcelain") == ""
    assert "line three" in (yard.repository / "a.txt").read_text()
    assert (yard.repository / "mine").exists()
    assert git(yard.repository, "log", "--first-parent", "--format=%an", f"{mine}..").count("\n") + 1 == (
        2 if strategy == "rebase" else 1
    )
    trailers = git(yard.repository, "log", "--format=%(trailers:key=Seatrial-Agent,valueonly)", f"{mine}..").split()
    assert trailers == ["ann"] * {"merge": 3, "squash": 1, "rebase": 2}[strategy]
    assert not unmerged(yard.relay, yard.source, "ann")
    git(yard.repository, "fsck", "--strict")


def test_authors_dates_and_messages_are_kept_and_the_user_commits(tmp_path: Path) -> None:
    yard, _ = worked(tmp_path)
    made = plan(yard, strategy="merge")
    execute_merge(made, yard.relay, yard.source)
    old, new = made.commits[1].old, made.commits[1].new
    shown = "--format=%an %ae %ad %cd"
    assert git(yard.repository, "show", "-s", shown, new) == yard.relay.git("show", "-s", shown, old)
    assert git(yard.repository, "show", "-s", "--format=%cn %ce", new) == "Ada ada@example.org"
    assert git(yard.repository, "show", "-s", "--format=%B", new) == (
        "New file\n\nBody.\n\nReviewed-by: Bob\nSeatrial-Agent: ann\nSeatrial-Harness: scripted\nSeatrial-Run: r1\n"
        f"Seatrial-Base: {made.base}"
    )


def test_an_agent_cannot_sign_as_another() -> None:
    forged = b"Subject\n\nseatrial-agent: boss\nSigned-off-by: x\n"
    text = with_trailers(forged, (("Seatrial-Agent", "ann"),))
    assert text == b"Subject\n\n> seatrial-agent: boss\nSigned-off-by: x\n\nSeatrial-Agent: ann\n"


def test_commits_are_signed_with_the_users_key(tmp_path: Path) -> None:
    yard, _ = worked(tmp_path)
    import subprocess

    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    for setting in (("gpg.format", "ssh"), ("user.signingKey", str(key))):
        git(yard.repository, "config", *setting)
    (tmp_path / "allowed").write_text(f"ada@example.org {(tmp_path / 'key.pub').read_text()}")
    git(yard.repository, "config", "gpg.ssh.allowedSignersFile", str(tmp_path / "allowed"))
    made = plan(yard, sign=True)
    execute_merge(made, yard.relay, yard.source)
    assert git(yard.repository, "log", "--format=%G?", f"{made.target}..").split() == ["G", "G", "G"]


def test_conflicts_are_foreseen_and_nothing_moves(tmp_path: Path) -> None:
    yard, _ = worked(tmp_path)
    text = (yard.repository / "a.txt").read_text().replace("line 3\n", "line drei\n")
    mine = commit_file(yard.repository, "a.txt", text)
    for strategy in ("merge", "squash", "rebase"):
        made = plan(yard, strategy=strategy)
        assert made.result is None
        assert [conflict.path for conflict in made.conflicts] == ["a.txt"]
        with pytest.raises(MergeConflictError, match=r"conflicts with main in 1 places: a\.txt") as error:
            execute_merge(made, yard.relay, yard.source)
        assert error.value.exit_code == 3
    assert git(yard.repository, "rev-parse", "HEAD") == mine


def test_agents_are_compared_with_each_other(tmp_path: Path) -> None:
    yard, _ = worked(tmp_path)
    for name, script in (("bob", "sed -i 's/line 3$/line III/' a.txt"), ("cat", "echo c > c.txt")):
        other = yard.agent(name)
        other.run(script)
        collect(yard.relay, name, other.inside, other.inside_to)
    found = {(pair.one, pair.other): len(pair.conflicts) for pair in preview_between(yard.relay, ["ann", "bob", "cat"])}
    assert found == {("ann", "bob"): 1, ("ann", "cat"): 0, ("bob", "cat"): 0}


def test_a_plan_is_refused_when_something_moved(tmp_path: Path) -> None:
    yard, agent = worked(tmp_path)
    made = plan(yard)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.into = "other"  # type: ignore[misc]
    commit_file(yard.repository, "mine", "m\n")
    with pytest.raises(GitError, match="main has moved since"):
        execute_merge(made, yard.relay, yard.source)
    made = plan(yard)
    agent.run("git commit -q --allow-empty -m more")
    collect(yard.relay, "ann", agent.inside, agent.inside_to)
    with pytest.raises(GitError, match="'ann' has moved on"):
        execute_merge(made, yard.relay, yard.source)


@pytest.mark.parametrize("how", ["changed", "staged", "untracked", "locked", "merging"])
def test_the_users_own_changes_are_never_touched(tmp_path: Path, how: str) -> None:
    yard, _ = worked(tmp_path)
    made, here = plan(yard), yard.repository
    if how == "changed":
        (here / "a.txt").write_text("mine\n")
    elif how == "staged":
        (here / "a.txt").write_text("mine\n")
        git(here, "add", "a.txt")
    elif how == "untracked":
        (here / "new.txt").write_text("mine\n")
    elif how == "locked":
        (here / ".git" / "index.lock").touch()
    else:
        (here / ".git" / "MERGE_HEAD").write_text(made.target + "\n")
    with pytest.raises(GitError, match=r"would change: |index\.lock exists|in the middle of"):
        execute_merge(made, yard.relay, yard.source)
    assert git(here, "rev-parse", "main") == made.target


def test_unrelated_changes_of_the_user_stay(tmp_path: Path) -> None:
    yard, _ = worked(tmp_path)
    (yard.repository / "b.txt").write_text("mine\n")
    (yard.repository / "loose").write_text("mine\n")
    execute_merge(plan(yard), yard.relay, yard.source)
    assert git(yard.repository, "status", "--porcelain").split() == ["M", "b.txt", "??", "loose"]
    assert (yard.repository / "b.txt").read_text() == "mine\n"


def test_branches_elsewhere_and_nowhere_checked_out(tmp_path: Path) -> None:
    yard, _ = worked(tmp_path)
    git(yard.repository, "branch", "quiet")
    git(yard.repository, "worktree", "add", "-q", "-b", "linked", str(tmp_path / "linked"))
    assert execute_merge(plan(yard, into="quiet"), yard.relay, yard.source).worktree is None
    assert execute_merge(plan(yard, into="linked"), yard.relay, yard.source).worktree == tmp_path / "linked"
    assert (tmp_path / "linked" / "new.txt").read_text() == "new\n"
    assert git(tmp_path / "linked", "status", "--porcelain") == ""
    assert not (yard.repository / "new.txt").exists()


def test_files_and_folders_may_change_places(tmp_path: Path) -> None:
    script = "git rm -q b.txt src/c.txt; mkdir b.txt; echo x > b.txt/x; echo s > src; git add -A; git commit -qm x"
    yard, _ = worked(tmp_path, script)
    execute_merge(plan(yard), yard.relay, yard.source)
    assert (yard.repository / "b.txt" / "x").read_text() == "x\n"
    assert (yard.repository / "src").read_text() == "s\n"
    assert git(yard.repository, "status", "--porcelain") == ""


def test_hooks_of_the_landed_work_do_not_run(tmp_path: Path) -> None:
    yard, _ = worked(tmp_path, "mkdir hooks; printf '#!/bin/sh\ntouch ../ran\n' > hooks/post-merge; chmod +x hooks/*; "
                     "cp hooks/post-merge hooks/post-checkout; git add -A; git commit -qm hooks")  # fmt: skip
    git(yard.repository, "config", "core.hooksPath", "hooks")
    made = plan(yard)
    assert {note.reason.split(",")[0] for note in made.attention} == {"becomes a program", "hooks of git"}
    execute_merge(made, yard.relay, yard.source)
    assert not (tmp_path / "ran").exists()


def test_uncommitted_work_can_be_landed_and_is_named_if_not(tmp_path: Path) -> None:
    yard, _ = worked(tmp_path, "echo loose > loose")
    with pytest.raises(GitError, match="Nothing to land") as error:
        plan(yard)
    assert "uncommitted" in (error.value.hint or "")
    assert unmerged(yard.relay, yard.source, "ann").files == (b"loose",)
    execute_merge(plan(yard, uncommitted=True), yard.relay, yard.source)
    assert (yard.repository / "loose").exists()
    assert not unmerged(yard.relay, yard.source, "ann")


@pytest.mark.parametrize("how", ["cherry-pick", "by hand", "reset"])
def test_work_counts_as_merged_by_content(tmp_path: Path, how: str) -> None:
    yard, _ = worked(tmp_path)
    commit_file(yard.repository, "mine", "m\n")
    if how == "cherry-pick":
        git(yard.repository, "fetch", "-q", str(yard.relay.path), "refs/agents/ann/head")
        git(yard.repository, "cherry-pick", "HEAD..FETCH_HEAD")
        commit_file(yard.repository, "new.txt", "newer\n")
    elif how == "by hand":
        (yard.repository / "new.txt").write_text("new\n")
        text = (yard.repository / "a.txt").read_text().replace("line 3\n", "line three\n")
        commit_file(yard.repository, "a.txt", text)
    else:
        made = plan(yard, strategy="squash")
        execute_merge(made, yard.relay, yard.source)
        git(yard.repository, "reset", "-q", "--hard", made.target)
        assert len(unmerged(yard.relay, yard.source, "ann").commits) == 2
        return
    assert not unmerged(yard.relay, yard.source, "ann")


def test_commits_of_the_user_are_not_called_the_agents(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    git(yard.repository, "checkout", "-q", "-b", "feature")
    feature = commit_file(yard.repository, "feature", "f\n", "My own")
    agent = yard.agent("ann")
    agent.run("echo x > x; git add x; git commit -qm x")
    collect(yard.relay, "ann", agent.inside, agent.inside_to)
    made = plan(yard, into="main")
    assert [commit.subject for commit in made.commits] == ["x"]
    assert any("1 commits of yours" in note for note in made.notes)
    execute_merge(made, yard.relay, yard.source)
    assert git(yard.repository, "merge-base", "main", feature) == feature


def test_diffs_are_fit_for_a_terminal(tmp_path: Path) -> None:
    yard, _ = worked(
        tmp_path, "printf 'a\\033]52;c;eA==\\007b\\n' > $(printf 'na\\033me'); git add -A; git commit -qm x; echo u > u"
    )
    shown = diff(yard.relay, "ann", target=git(yard.repository, "rev-parse", "HEAD"))
    assert [(file.path, file.added, file.committed) for file in shown.files] == [
        ("na\\x1bme", 1, True),
        ("u", 1, False),
    ]
    assert "\x1b" not in shown.committed + shown.uncommitted
    assert "+a\\x1b]52;c;eA==\\x07b" in shown.committed
    assert "+u" in shown.uncommitted


@pytest.mark.parametrize("first", ["merge", "squash", "rebase"])
@pytest.mark.parametrize("second", ["merge", "squash", "rebase"])
def test_an_agent_goes_on_after_its_work_was_landed(tmp_path: Path, first: str, second: str) -> None:
    yard, agent = worked(tmp_path)
    commit_file(yard.repository, "mine", "m\n")
    execute_merge(plan(yard, strategy=first), yard.relay, yard.source)
    text = (yard.repository / "a.txt").read_text().replace("line three\n", "line three, reviewed\n")
    commit_file(yard.repository, "a.txt", text, "Reviewed")
    with pytest.raises(GitError, match="Nothing to land"):
        plan(yard)
    agent.run("echo newer >> new.txt; git commit -qam newer")
    collect(yard.relay, "ann", agent.inside, agent.inside_to)
    made = plan(yard, strategy=second)
    assert made.files == ("new.txt",)
    assert (len(made.commits) == 3) == (first != "merge" and second == "merge")
    assert diff(yard.relay, "ann", target=made.target).files[0].path == "new.txt"
    execute_merge(made, yard.relay, yard.source)
    assert (yard.repository / "new.txt").read_text() == "new\nnewer\n"
    assert "reviewed" in (yard.repository / "a.txt").read_text()
    assert (yard.repository / "mine").exists()
    assert not unmerged(yard.relay, yard.source, "ann")


def test_a_branch_shows_the_agents_commits_to_the_user(tmp_path: Path) -> None:
    yard, agent = worked(tmp_path)
    head = publish_branch(yard.relay, yard.source, "ann")
    assert git(yard.repository, "rev-parse", "seatrial/ann") == head
    agent.run("git commit -q --allow-empty -m more")
    collect(yard.relay, "ann", agent.inside, agent.inside_to)
    assert publish_branch(yard.relay, yard.source, "ann") != head
    git(yard.repository, "checkout", "-q", "seatrial/ann")
    with pytest.raises(GitError, match="checked out"):
        publish_branch(yard.relay, yard.source, "ann")
    commit_file(yard.repository, "mine", "m\n")
    git(yard.repository, "checkout", "-q", "main")
    with pytest.raises(GitError, match="has commits that the agent has not"):
        publish_branch(yard.relay, yard.source, "ann")


@pytest.mark.parametrize("kind", ["sha256", "shallow", "bare"])
def test_landing_in_repositories_of_other_kinds(tmp_path: Path, kind: str) -> None:
    yard = new_yard(tmp_path, *(["--object-format=sha256"] if kind == "sha256" else []))
    commit_file(yard.repository, "second", "2\n")
    if kind != "sha256":
        option = "--bare" if kind == "bare" else "--depth=1"
        git(tmp_path, "clone", "-q", option, f"file://{yard.repository}", "other")
        for setting in (("user.name", "Ada"), ("user.email", "ada@example.org")):
            git(tmp_path / "other", "config", *setting)
        source = find_source(tmp_path / "other")
        yard = Yard(tmp_path / "other", source, open_relay(tmp_path / "other.git", source), tmp_path)
    agent = yard.agent("ann")
    agent.run(WORK)
    collect(yard.relay, "ann", agent.inside, agent.inside_to)
    made = plan(yard, into="main")
    done = execute_merge(made, yard.relay, yard.source)
    assert git(yard.repository, "rev-parse", "main") == made.result
    assert (done.worktree is None) == (kind == "bare")
    git(yard.repository, "fsck", "--strict")
    assert not unmerged(yard.relay, yard.source, "ann")


def test_messages_that_act_on_terminals_are_pointed_out(tmp_path: Path) -> None:
    yard, _ = worked(tmp_path, "git commit -q --allow-empty -m fine; echo x > x; git add x; "
                     "git commit -qm \"$(printf 'sub\\033]0;owned\\007ject')\"")  # fmt: skip
    made = plan(yard)
    assert made.commits[1].subject == "sub\\x1b]0;owned\\x07ject"
    assert any(note.startswith("1 commits have control") for note in made.notes)
