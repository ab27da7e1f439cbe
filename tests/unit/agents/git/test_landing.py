from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.agents.git.landing import execute_merge, recover_landing
from seatrial.agents.git.merge import MergePlan, plan_merge
from seatrial.agents.git.relay import Relay, collect
from seatrial.agents.git.source import Source
from seatrial.errors import GitError
from tests.unit.agents.git.sandbox import Yard, git, needs_sandbox, new_yard

pytestmark = needs_sandbox


def planned(tmp_path: Path) -> tuple[Yard, MergePlan]:
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    agent.run("for n in $(seq 40); do echo $n > f$n; done; echo a >> a.txt; rm b.txt; git add -A; git commit -qm x")
    collect(yard.relay, "ann", agent.inside, agent.inside_to)
    return yard, plan_merge(yard.relay, yard.source, "ann")


KILLED = """
import os, signal, sys
from pathlib import Path
from seatrial.agents.git import landing
from seatrial.agents.git.merge import plan_merge
from seatrial.agents.git.relay import open_relay
from seatrial.agents.git.source import find_source

source = find_source(Path(sys.argv[1]))
relay = open_relay(Path(sys.argv[2]), source)
plan = plan_merge(relay, source, "ann")
left = int(sys.argv[3])

def watch(frame, event, argument):
    global left
    if frame.f_code.co_filename == landing.__file__ and event in ("line", "return"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return watch

sys.settrace(watch)
landing.execute_merge(plan, relay, source)
sys.settrace(None)
print("done")
"""


def test_killed_at_any_line_leaves_before_or_after(tmp_path: Path) -> None:
    """Each 31st line that `landing` executes is one on which it is killed, in a repository of its own."""
    yard, plan = planned(tmp_path)
    seen = set()
    for line in range(1, 2_000, 31):
        subprocess.run(["cp", "-a", str(yard.repository), str(tmp_path / "copy")], check=True)
        subprocess.run(["cp", "-a", str(yard.relay.path), str(tmp_path / "relay")], check=True)
        copy = tmp_path / "copy"
        argv = [sys.executable, "-c", KILLED, str(copy), str(tmp_path / "relay"), str(line)]
        done = subprocess.run(argv, capture_output=True, check=False, env=dict(os.environ))
        assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
        source = Source(copy, type(yard.source.at)(copy / ".git", copy), copy / ".git", "sha1", False)
        told = recover_landing(Relay(tmp_path / "relay", "sha1"), source)
        head = git(copy, "rev-parse", "main")
        assert head in (plan.target, plan.result)
        assert git(copy, "status", "--porcelain") == "", (line, told)
        git(copy, "fsck", "--strict")
        seen.add((head == plan.result, told is not None))
        subprocess.run(["rm", "-rf", str(copy), str(tmp_path / "relay")], check=True)
        if done.returncode == 0:
            break
    assert (False, False) in seen
    assert (True, False) in seen


def interrupted(yard: Yard, plan: MergePlan) -> None:
    """The state after a kill in the middle of writing files: journal, some new files, a torn one, one removed."""
    (yard.relay.path / "seatrial" / "landing.json").write_text(
        f'{{"into": "main", "old": "{plan.target}", "new": "{plan.result}", "agent": "ann", '
        f'"worktree": "{yard.repository}"}}'
    )
    git(yard.repository, "fetch", "-q", str(yard.relay.path), "refs/agents/ann/head")
    git(yard.repository, "fetch", "-q", str(yard.relay.path), f"{plan.result}")
    (yard.repository / "f1").write_text("1\n")
    (yard.repository / "f40").write_text("4")
    (yard.repository / "b.txt").unlink()
    (yard.repository / "a.txt").write_text("line 0\nli")


def test_half_written_files_are_put_back(tmp_path: Path) -> None:
    yard, plan = planned(tmp_path)
    interrupted(yard, plan)
    assert "is undone" in (recover_landing(yard.relay, yard.source) or "")
    assert git(yard.repository, "status", "--porcelain") == ""
    assert recover_landing(yard.relay, yard.source) is None
    execute_merge(plan, yard.relay, yard.source)
    assert git(yard.repository, "rev-parse", "HEAD") == plan.result


def test_an_interrupted_landing_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    yard, plan = planned(tmp_path)
    interrupted(yard, plan)
    execute_merge(plan, yard.relay, yard.source)
    assert git(yard.repository, "status", "--porcelain") == ""


def test_what_the_user_wrote_since_is_not_overwritten(tmp_path: Path) -> None:
    yard, plan = planned(tmp_path)
    interrupted(yard, plan)
    (yard.repository / "a.txt").write_text("my own words\n")
    with pytest.raises(GitError, match=r"changed since: a\.txt"):
        recover_landing(yard.relay, yard.source)
    assert (yard.repository / "a.txt").read_text() == "my own words\n"


def test_a_lock_that_was_left_is_told(tmp_path: Path) -> None:
    yard, plan = planned(tmp_path)
    interrupted(yard, plan)
    (yard.repository / ".git" / "index.lock").touch()
    with pytest.raises(GitError, match=r"index\.lock is still there"):
        recover_landing(yard.relay, yard.source)
    (yard.repository / ".git" / "index.lock").unlink()
    assert recover_landing(yard.relay, yard.source)
