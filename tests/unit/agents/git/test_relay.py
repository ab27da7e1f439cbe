from __future__ import annotations

from pathlib import Path

import pytest

from seatrial.agents.git.relay import agent_refs, collect, forget
from seatrial.errors import RelayError
from tests.unit.agents.git.sandbox import git, needs_sandbox, new_yard

pytestmark = needs_sandbox


@pytest.mark.parametrize("options", [(), ("--object-format=sha256",)], ids=["sha1", "sha256"])
def test_commits_and_uncommitted_files_come_out(tmp_path: Path, options: tuple[str, ...]) -> None:
    yard = new_yard(tmp_path, *options)
    agent = yard.agent("ann")
    agent.run("echo new > new.txt; git add new.txt; git commit -qm 'New file'; echo more >> b.txt; echo x > loose")
    got = collect(yard.relay, "ann", agent.inside, agent.inside_to)
    assert (got.ahead, got.files, got.uncommitted, got.others) == (1, 3, 2, ())
    assert got.work is not None
    assert yard.relay.git("show", f"{got.work}:loose") == "x"
    assert yard.relay.git("show", "-s", "--format=%an <%ae>", got.head) == "ann <ann@seatrial.invalid>"
    again = collect(yard.relay, "ann", agent.inside, agent.inside_to)
    assert (again.head, again.work, again.objects) == (got.head, got.work, 0)


def test_only_what_is_new_comes_over(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("seq 1000 > one; git add one; git commit -qm one")
    assert collect(yard.relay, "ann", agent.inside, agent.inside_to).objects == 3
    agent.run("echo two > two; git add two; git commit -qm two")
    assert collect(yard.relay, "ann", agent.inside, agent.inside_to).objects == 3


def test_other_branches_and_the_stash_are_not_lost(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("git checkout -qb side; echo s > s; git add s; git commit -qm side; git checkout -q seatrial/ann")
    agent.run("echo stashed >> a.txt; git stash -q")
    got = collect(yard.relay, "ann", agent.inside, agent.inside_to)
    assert len(got.others) == 2
    assert got.work is None


def test_work_on_a_detached_head_comes_along(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("git checkout -q --detach; echo d > d; git add d; git commit -qm detached")
    got = collect(yard.relay, "ann", agent.inside, agent.inside_to)
    assert got.head == got.base
    assert got.work is not None
    assert yard.relay.git("show", f"{got.work}:d") == "d"


def test_an_agent_that_breaks_its_git_is_told_in_one_sentence(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("rm -rf .git")
    with pytest.raises(RelayError, match="git inside the sandbox of 'ann' failed"):
        collect(yard.relay, "ann", agent.inside, agent.inside_to)
    assert agent_refs(yard.relay, "ann").head == git(yard.repository, "rev-parse", "HEAD")


def test_what_was_thrown_away_is_in_the_reflog(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("echo one > one; git add one; git commit -qm one")
    first = collect(yard.relay, "ann", agent.inside, agent.inside_to)
    agent.run("git reset -q --hard HEAD~1")
    second = collect(yard.relay, "ann", agent.inside, agent.inside_to)
    assert second.head == second.base
    assert first.head in yard.relay.git("reflog", "show", "--format=%H", "refs/agents/ann/head")


def test_forgotten_agents_leave_no_ref(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    yard.agent("ann")
    forget(yard.relay, "ann")
    with pytest.raises(RelayError, match="knows no agent 'ann'"):
        agent_refs(yard.relay, "ann")
