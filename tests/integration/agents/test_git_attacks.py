"""What an agent may plant in its clone must never run on the host, whatever Seatrial does with the agent's work."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from seatrial.agents.git.diffs import diff
from seatrial.agents.git.landing import execute_merge, recover_landing
from seatrial.agents.git.merge import plan_merge, preview_between
from seatrial.agents.git.provenance import unmerged
from seatrial.agents.git.relay import agent_refs, collect, forget
from seatrial.agents.git.workspace import release_base
from seatrial.errors import GitError, RelayError
from tests.integration.agents.git_plants import PLANTS, Plant
from tests.unit.agents.git.sandbox import CLEAN, Sandbox, Yard, commit_file, git, needs_sandbox, new_yard

pytestmark = needs_sandbox
LEAST_SPRUNG = 40


def planted(tmp_path: Path, plant: Plant) -> tuple[Yard, Sandbox, Path]:
    """A yard whose agent has committed, has uncommitted files, and then plants."""
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("git checkout -q -b side; echo s >> a.txt; git commit -qam side; git checkout -q seatrial/ann")
    agent.run("sed -i '1s/.*/first/' a.txt; git commit -qam x; echo y >> b.txt; echo z > z")
    collect(yard.relay, "ann", agent.inside, agent.inside_to)
    tree = agent.workspace.root
    assert tree is not None
    marks = tmp_path / "marks"
    marks.mkdir()
    marks.chmod(0o777)
    canary = tmp_path / "agents" / "canary"  # stands for any program in the agent's reach
    canary.write_text(f"#!/bin/sh\ntouch {marks}/sprung\n")
    canary.chmod(0o755)
    plant.put(tree, str(canary))
    if os.geteuid() == 0:
        subprocess.run(["chown", "-hR", "61184:61184", str(tree)], check=True)
    return yard, agent, marks / "sprung"


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_no_plant_runs_on_the_host(tmp_path: Path, plant: Plant) -> None:
    yard, agent, mark = planted(tmp_path, plant)
    with suppress(RelayError):  # an agent that broke its own git has only itself to blame; what matters is the mark
        collect(yard.relay, "ann", agent.inside, agent.inside_to)
    commit_file(yard.repository, "mine", "m\n")
    diff(yard.relay, "ann", target=git(yard.repository, "rev-parse", "HEAD"))
    preview_between(yard.relay, ["ann", "ann"])
    for strategy in ("squash", "rebase", "merge"):
        plan = plan_merge(yard.relay, yard.source, "ann", strategy=strategy, uncommitted=True)
        if strategy == "merge":
            execute_merge(plan, yard.relay, yard.source)
    recover_landing(yard.relay, yard.source)
    unmerged(yard.relay, yard.source, "ann")
    assert (yard.repository / "z").exists()
    yard.agent("next")
    for command in (("status",), ("diff", "HEAD~1"), ("log", "-p"), ("commit", "--allow-empty", "-qm", "x")):
        git(yard.repository, *command)  # the user goes on working with what was landed
    forget(yard.relay, "ann")
    release_base(yard.source, "ann")
    assert not mark.exists()


def test_the_plants_do_work_where_git_is_used_naively(tmp_path: Path) -> None:
    """Without this the suite above could pass because the plants are duds."""
    sprung, duds = [], []
    (tmp_path / "home").mkdir()
    for number, plant in enumerate(plant for plant in PLANTS if plant.naive):
        yard, agent, mark = planted(tmp_path / str(number), plant)
        git(tmp_path / str(number), "init", "-q", "--bare", "scratch")
        trusting = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        environment = {**CLEAN, **trusting, "HOME": str(tmp_path / "home"), "TERM": "xterm"}
        environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(yard.source.objects)
        argv = [word.replace("{scratch}", str(tmp_path / str(number) / "scratch")) for word in plant.naive or ()]
        subprocess.run(
            argv, cwd=agent.workspace.root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        (sprung if mark.exists() else duds).append(plant.name)
        shutil.rmtree(tmp_path / str(number))
    print(f"naive git: {len(sprung)} of {len(sprung) + len(duds)} plants sprung; duds: {duds}")
    assert len(sprung) >= LEAST_SPRUNG, duds


def test_the_clone_cannot_point_the_host_at_other_objects(tmp_path: Path) -> None:
    """An alternates file with a host path means nothing inside and is never read outside."""
    secret = tmp_path / "secret"
    secret.mkdir()
    git(secret, "init", "-q")
    hidden = commit_file(secret, "key", "hunter2\n")
    yard = new_yard(tmp_path / "yard")
    agent = yard.agent("ann")
    agent.run(
        f"echo {secret}/.git/objects >> .git/objects/info/alternates; echo {hidden} > .git/refs/heads/seatrial/ann"
    )
    with pytest.raises(RelayError):
        collect(yard.relay, "ann", agent.inside, agent.inside_to)
    assert agent_refs(yard.relay, "ann").head == git(yard.repository, "rev-parse", "HEAD")


@pytest.mark.parametrize("how", ["replace", "grafts"])
def test_made_up_history_stays_inside(tmp_path: Path, how: str) -> None:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("echo evil > a.txt; git commit -qam evil; echo x > x; git add x; git commit -qm x")
    if how == "replace":
        agent.run("git replace HEAD HEAD~1")
    else:
        agent.run("mkdir -p .git/info; git rev-parse HEAD > .git/info/grafts")
    with suppress(RelayError):
        collect(yard.relay, "ann", agent.inside, agent.inside_to)
    refs = agent_refs(yard.relay, "ann")
    assert yard.relay.git("for-each-ref", "refs/replace") == ""
    yard.relay.git("fsck", "--strict", refs.head)


def test_an_agent_names_no_ref_but_its_own(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    bob = yard.agent("bob")
    ann = yard.agent("ann")
    before = agent_refs(yard.relay, "bob")
    ann.run("echo x > x; git add x; git commit -qm x; for ref in refs/agents/bob/head refs/heads/seatrial/bob "
            "refs/heads/main refs/heads/HEAD; do git update-ref $ref HEAD; done")  # fmt: skip
    collect(yard.relay, "ann", ann.inside, ann.inside_to)
    assert agent_refs(yard.relay, "bob") == before
    assert git(yard.repository, "rev-parse", "main") == before.base
    assert collect(yard.relay, "bob", bob.inside, bob.inside_to).ahead == 0


def test_paths_with_control_characters_arrive_and_print_harmlessly(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("printf x > \"$(printf 'new\\nline')\"; printf x > \"$(printf 'bell\\a\\033[2J')\"; "
              "mkdir ./-rf; printf x > './-rf/--all'; printf x > \"$(printf '\\377\\376')\"")  # fmt: skip
    got = collect(yard.relay, "ann", agent.inside, agent.inside_to)
    assert got.uncommitted == 4
    plan = plan_merge(yard.relay, yard.source, "ann", uncommitted=True)
    assert plan.files == ("-rf/--all", "bell\\x07\\x1b[2J", "new\\nline", "\\xff\\xfe")
    assert len(plan.hash) == 64
    execute_merge(plan, yard.relay, yard.source)
    assert (yard.repository / "new\nline").read_text() == "x"
    assert (yard.repository / os.fsdecode(b"\xff\xfe")).exists()
    assert git(yard.repository, "status", "--porcelain") == ""


def test_links_out_of_the_workspace_are_landed_as_links(tmp_path: Path) -> None:
    """A link to a host file becomes a link in the commit: what it points to is read by nobody."""
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    (tmp_path / "outside").mkdir()
    agent.run(f"ln -s /etc/passwd pw; ln -s {tmp_path}/outside out; git add -A; git commit -qm links")
    agent.run("git rm -q --cached out; rm out; mkdir out; echo x > out/x; git add -A; git commit -qm through")
    collect(yard.relay, "ann", agent.inside, agent.inside_to)
    plan = plan_merge(yard.relay, yard.source, "ann")
    assert "a symbolic link" in {note.reason for note in plan.attention}
    execute_merge(plan, yard.relay, yard.source)
    assert yard.relay.git("show", f"{plan.head}:pw") == "/etc/passwd"
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_user_repository_that_is_planted_by_landing_stays_quiet(tmp_path: Path) -> None:
    """Attributes that are landed name drivers that only an agent's configuration had."""
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("echo '* filter=evil diff=evil merge=evil' > .gitattributes; git add -A; git commit -qm attributes")
    collect(yard.relay, "ann", agent.inside, agent.inside_to)
    plan = plan_merge(yard.relay, yard.source, "ann")
    assert [note.path for note in plan.attention] == [".gitattributes"]
    execute_merge(plan, yard.relay, yard.source)
    assert git(yard.repository, "status", "--porcelain") == ""


def test_errors_of_the_inside_are_neutralised(tmp_path: Path) -> None:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("printf '[\\033]0;owned\\007' > .git/config")
    with pytest.raises(GitError) as error:
        collect(yard.relay, "ann", agent.inside, agent.inside_to)
    assert "\x1b" not in error.value.message
