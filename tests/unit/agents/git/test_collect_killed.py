from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from seatrial.agents.git.relay import agent_refs, collect
from tests.conftest import REPOSITORY
from tests.unit.agents.git.sandbox import OWNER, needs_sandbox, new_yard

KILLED = """
import os, signal, sys
from pathlib import Path
from seatrial.agents.git import pack, quarantine, relay
from seatrial.agents.git.source import find_source
from seatrial.agents.git.workspace import Workspace
from tests.unit.agents.git.sandbox import OBJECTS, Sandbox

user, path, clone, left = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
source = find_source(user)
here = relay.open_relay(path, source)
box = Sandbox(Workspace("seatrial/ann", "", clone, None, None, None, ((source.objects, OBJECTS),), (), (), 0, ()))

def watch(frame, event, argument):
    global left
    if frame.f_code.co_filename in (relay.__file__, quarantine.__file__) and event in ("line", "return"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return watch

sys.settrace(watch)
relay.collect(here, "ann", box.inside, box.inside_to)
"""


@needs_sandbox
def test_killed_at_any_line_nothing_is_lost_and_the_next_collects(tmp_path: Path) -> None:
    """Each 19th line that `relay` and `quarantine` execute is one on which a collection is killed."""
    yard = new_yard(tmp_path)
    agent = yard.agent("ann")
    assert agent.workspace.root is not None
    base = agent_refs(yard.relay, "ann").base
    killed = 0
    for line in range(1, 2_000, 19):
        agent.run(f"echo {line} > file; git add file; git commit -qm {line}")
        before = agent_refs(yard.relay, "ann")
        argv = [sys.executable, "-c", KILLED]
        argv += [str(yard.repository), str(yard.relay.path), str(agent.workspace.root), str(line)]
        done = subprocess.run(argv, cwd=REPOSITORY, env=dict(os.environ), capture_output=True, check=False)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
        after = agent_refs(yard.relay, "ann")
        head = agent.run("git rev-parse HEAD")
        assert after.head in (before.head, head)
        yard.relay.git("fsck", "--connectivity-only", after.head)
        got = collect(yard.relay, "ann", agent.inside, agent.inside_to)
        assert (got.head, got.base, got.work) == (head, base, None)
        assert list((yard.relay.path / "seatrial" / "quarantine").glob("*")) == []
        killed += done.returncode != 0
        if done.returncode == 0:
            break
    assert killed > 5
    assert OWNER is None or agent.workspace.root.stat().st_uid == OWNER
