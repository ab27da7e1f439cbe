"""Making, starting, stopping, resuming, forking and deleting agents; numbers name the behaviours of docs/agents.md."""

from __future__ import annotations

import shutil
import subprocess

from tests.acceptance.agents.conftest import Yard


def test_an_agent_works_commits_and_is_merged(yard: Yard) -> None:
    yard.model()
    yard.ok("start", "ada", "say hello", "-H", "mini")
    assert yard.json("wait", "ada")["agent"]["activity"] == "idle"
    assert "Done." in yard.ok("look", "ada")
    assert "+hello" in yard.ok("diff", "ada")
    assert yard.git("status", "--porcelain") == ""  # 1: nothing of ours is in the repository
    plan = yard.json("merge", "ada", "--preview")["plan"]
    assert yard.git("log", "--oneline").count("\n") == 1  # nothing moved
    yard.ok("merge", "ada", "--plan", plan["hash"])
    assert (yard.repository / "hello.txt").read_text() == "hello\n"
    assert "Seatrial-Agent: ada" in yard.git("log", "-2")
    yard.ok("delete", "ada")
    assert yard.json("list")["agents"] == []


def test_branch_is_named_after_the_agent_and_work_goes_on_where_it_was(yard: Yard) -> None:  # 3, 4
    yard.git("branch", "seatrial/ada")
    yard.git("commit", "-q", "--allow-empty", "-m", "Later")
    yard.generic("ada")
    assert yard.agent("ada")["workspace"]["branch"] == "seatrial/ada"
    assert yard.inside("ada", "git log -1 --format=%s").stdout == "Start\n"


def test_a_worktree_belongs_to_its_main_repository(yard: Yard) -> None:  # 6
    yard.git("worktree", "add", "-q", str(yard.folder / "tree"), "-b", "other")
    yard.ok("create", "ada", "-H", "generic", "--", "true", cwd=yard.folder / "tree")
    assert [a["name"] for a in yard.json("list")["agents"]] == ["ada"]


def test_outside_of_a_repository_is_one_sentence(yard: Yard) -> None:  # 8
    done = yard.run("list", cwd=yard.folder)
    assert done.returncode == 1 and "error:" in done.stderr and "Traceback" not in done.stderr
    assert yard.run("list", "--project", "/nowhere").returncode == 1


def test_running_agent_is_returned_and_a_second_task_refused(yard: Yard) -> None:  # 12, 13
    yard.generic("ada")
    first = yard.agent("ada")
    assert yard.json("start", "ada")["agent"]["run"] == first["run"]
    refused = yard.json("start", "ada", "more")
    assert refused["ok"] is False and "message ada" in refused["error"]["hint"]


def test_unknown_agents_are_named(yard: Yard) -> None:  # 14
    for words in (["resume", "ada"], ["look", "ada"], ["message", "ada", "x"], ["delete", "ada"], ["diff", "ada"]):
        error = yard.json(*words)["error"]
        assert error["code"] == "unknown_agent_error" and "ada" in error["message"], words


def test_same_name_in_two_projects_is_two_agents(yard: Yard) -> None:  # 15
    other = yard.make_repository(yard.folder / "second")
    yard.generic("ada")
    yard.ok("start", "ada", "-H", "generic", "--", "sleep", "1000", cwd=other)
    assert len(yard.json("list", "--everywhere")["agents"]) == 2
    yard.ok("stop", "ada", cwd=other)
    assert yard.agent("ada")["phase"] == "running"


def test_a_program_that_ends_at_once_is_told_with_its_words(yard: Yard) -> None:  # 16, 17
    done = yard.json("start", "ada", "-H", "generic", "--", "sh", "-c", "echo no such model; exit 3")
    assert done["ok"] is False and "no such model" in done["error"]["message"]
    record = yard.agent("ada")
    assert record["phase"] == "error" and "code 3" in record["detail"]
    assert yard.state("ada").is_dir()


def test_a_harness_that_is_not_installed_is_named(yard: Yard) -> None:  # 18
    error = yard.json("start", "ada", "task", "-H", "gemini-cli", PATH="/usr/bin:/bin")["error"]
    assert "gemini" in error["message"]
    assert yard.json("list")["agents"] == []


def test_missing_tmux_is_named(yard: Yard) -> None:  # 19
    folder = yard.folder / "bin"
    folder.mkdir()
    for name in ("git", "bwrap", "sh", "mount", "setpriv", "unshare", "prlimit", "timeout"):
        (folder / name).symlink_to(shutil.which(name) or "/bin/false")
    error = yard.json("start", "ada", "-H", "generic", "--", "true", PATH=str(folder))["error"]
    assert "tmux is not installed" in error["message"]


def test_required_variables_are_listed_in_order(yard: Yard) -> None:  # 20
    yard.configure('[policy.environment]\nrequire = ["ZETA", "ALPHA"]\n')
    error = yard.json("start", "ada", "-H", "generic", "--", "true")["error"]
    assert "ALPHA, ZETA" in error["message"]
    assert yard.json("list")["agents"] == []
    yard.ok("start", "bob", "-H", "generic", "--env", "ALPHA=1", "--env", "ZETA=2", "--", "sleep", "100")


def test_a_key_that_is_missing_is_named_and_none_is_needed_without(yard: Yard) -> None:  # 27, 30
    error = yard.json("start", "ada", "task", "-H", "mini")["error"]
    assert error["code"] == "secret_key_error" or "keys set anthropic" in error["hint"]
    yard.ok("start", "bob", "-H", "mini", "--no-keys")


def test_nothing_of_the_users_environment_is_inside(yard: Yard) -> None:  # 28, 29
    secret = "sk-ant-" + "x" * 40
    done = yard.run("start", "ada", "-H", "generic", "--", "sleep", "1000", ANTHROPIC_API_KEY=secret, EDITOR="vi")
    assert done.returncode == 0
    seen = yard.inside("ada", "env; cat /proc/*/environ").stdout
    assert secret not in seen and "EDITOR" not in seen and "SEATRIAL_HOME" not in seen


def test_resume_goes_on_with_the_conversation(yard: Yard) -> None:  # 11
    yard.model(SCRIPT_TWO_TASKS)
    yard.ok("start", "ada", "first task", "-H", "mini")
    yard.ok("wait", "ada")
    yard.ok("stop", "ada")
    assert yard.agent("ada")["phase"] == "stopped"
    yard.ok("resume", "ada", "second task")
    yard.ok("wait", "ada", "--timeout", "20s")
    yard.wait_until(lambda: "The first was $HOME" in yard.ok("look", "ada"))


SCRIPT_TWO_TASKS = """
[[turn]]
text = "First done."
[[turn]]
when = "second task"
text = "The first was $HOME `id` \\"quoted\\"."
"""


def test_tasks_are_never_seen_by_a_shell(yard: Yard) -> None:
    task = "cost $HOME `id` $(touch /workspace/pwned) \"q\" 'q' \\n; & | > x\nsecond line"
    yard.ok("start", "ada", "-H", "generic", "--task-file", "-", "--", "sh", "-c",
            'printf %s "$1" > /workspace/task; sleep 1000', "sh", stdin=task)  # fmt: skip
    yard.wait_until(lambda: yard.inside("ada", "cat task").stdout == task)
    assert yard.inside("ada", "ls").stdout.split() == ["a.txt", "task"]


def test_fork_has_workspace_home_and_a_branch_of_its_own(yard: Yard) -> None:
    yard.generic("ada")
    yard.inside("ada", "echo 2 > b.txt; git add b.txt; git commit -qm B; echo 3 > c.txt; echo h > ~/note")
    yard.ok("fork", "ada", "bob")
    assert yard.agent("ada")["phase"] == "running"
    seen = yard.inside("bob", "cat b.txt c.txt ~/note; git branch --show-current").stdout.split()
    assert seen == ["2", "3", "h", "seatrial/bob"]
    yard.ok("resume", "bob")
    yard.inside("bob", "git add -A; git commit -qm C")
    assert yard.inside("ada", "git log -1 --format=%s").stdout == "B\n"


def test_delete_refuses_while_work_is_unmerged(yard: Yard) -> None:
    yard.generic("ada")
    yard.inside("ada", "echo 2 > b.txt")  # not even committed
    done = yard.run("delete", "ada")
    assert done.returncode == 3 and "not merged" in done.stderr
    assert yard.agent("ada")["phase"] == "stopped"
    yard.ok("delete", "ada", "--discard-work")
    assert not list(yard.home.glob("agents/*/agents/*"))
    assert yard.git("for-each-ref", "refs/seatrial") == ""


def test_delete_stopped_leaves_running_ones(yard: Yard) -> None:  # 39
    yard.generic("ada")
    yard.generic("bob")
    yard.ok("stop", "bob")
    yard.ok("delete", "--stopped")
    assert [a["name"] for a in yard.json("list")["agents"]] == ["ada"]


def test_names_are_checked(yard: Yard) -> None:
    for name in ("../x", "A", "user", "all", "a" * 41, "-x", "a b", ""):
        error = yard.json("create", "--harness", "generic", "--", name, "x")["error"]
        assert error["code"] in ("agent_error", "usage_error"), name


def test_settings_have_one_order(yard: Yard) -> None:  # 22, 23
    yard.configure('[defaults]\nharness = "codex"\nmodel = "user"\n[profiles.p]\nharness = "mini"\nmodel = "profile"\n')
    folder = yard.repository / ".seatrial" / "templates" / "t"
    folder.mkdir(parents=True)
    (folder / "template.toml").write_text('default_harness = "generic"\n[policy.limits]\npids = 99\n')
    shown = yard.json("policy", "show", "x", "--template", "t", "--profile", "p", "--memory", "1GiB")["policy"]
    assert (shown["limits"]["pids"], shown["limits"]["memory"]) == (99, 2**30)
    yard.ok("create", "ada", "--template", "t", "--profile", "p", "--", "true")
    record = yard.agent("ada")["spec"]
    assert (record["harness"]["name"], record["model"]) == ("generic", "profile")
    assert record["why"]["harness"] == "template t" and record["why"]["model"] == "profile p"


def test_a_project_file_that_opens_the_sandbox_must_be_trusted(yard: Yard) -> None:
    file = yard.repository / ".seatrial" / "agents.toml"
    file.parent.mkdir()
    file.write_text('[policy.files]\nread = ["/opt"]\n')
    done = yard.run("create", "ada", "-H", "generic", "--", "true")
    assert done.returncode == 2 and "--trust" in done.stderr
    yard.ok("init", "--trust")
    yard.ok("create", "ada", "-H", "generic", "--", "true")
    file.write_text(file.read_text() + 'write = ["/srv"]\n')
    assert yard.run("create", "bob", "-H", "generic", "--", "true").returncode == 2


def test_include_brings_untracked_files_but_no_links_out(yard: Yard) -> None:
    (yard.repository / ".env").write_text("LOCAL=1\n")
    (yard.repository / "link").symlink_to("/etc/passwd")
    yard.generic("ada", options=("--include", ".env", "--include", "link"))
    assert yard.inside("ada", "cat .env; ls").stdout.split() == ["LOCAL=1", "a.txt"]
    yard.generic("bob")
    assert yard.inside("bob", "cat .env").returncode == 1


def test_templates_give_instructions_files_and_skills(yard: Yard) -> None:
    yard.ok("template", "create", "below")
    yard.ok("template", "create", "above", "--extends", "below")
    base = yard.repository / ".seatrial" / "templates"
    (base / "below" / "instructions.md").write_text("Be kind.")
    (base / "below" / "home" / "x").write_text("1")
    (base / "above" / "instructions.md").write_text("Be brief.")
    (base / "above" / "home" / "x").write_text("2")
    yard.generic("ada", options=("--template", "above"))
    seen = yard.inside("ada", "cat ~/x; cat ~/AGENTS.md").stdout
    assert seen.startswith("2Be kind.") and seen.index("Be kind.") < seen.index("Be brief.") < seen.index(
        "seatrial-agent"
    )
    (base / "above" / "template.toml").write_text('harness = "codex"\n')  # 21
    assert yard.json("create", "bob", "--template", "above")["error"]["code"] == "template_error"


def test_shared_folders_are_shared_as_they_are_written_down(yard: Yard) -> None:
    yard.configure("[shared.pool]\n[shared.papers]\nread_only = true\n")
    folder = yard.repository / ".seatrial" / "templates" / "t"
    folder.mkdir(parents=True)
    (folder / "template.toml").write_text('shared = ["pool", "papers"]\n')
    for name in ("ada", "bob"):
        yard.generic(name, options=("--template", "t"))
    yard.inside("ada", "echo hi > /shared/pool/x")
    assert yard.inside("bob", "cat /shared/pool/x").stdout == "hi\n"
    assert "Read-only" in yard.inside("bob", "touch /shared/papers/x").stderr
    (folder / "template.toml").write_text('shared = ["nothing"]\n')
    assert "no shared folder" in yard.run("create", "eve", "--template", "t", "-H", "generic", "--", "true").stderr


def test_services_are_started_and_started_again(yard: Yard) -> None:  # 40
    folder = yard.repository / ".seatrial" / "templates" / "t"
    folder.mkdir(parents=True)
    (folder / "template.toml").write_text(
        '[services.web]\ncommand = ["python3", "-m", "http.server", "8123", "--bind", "127.0.0.1"]\n'
        'restart = "always"\nready = { http = 8123, timeout = 10 }\n'
        '[services.once]\ncommand = ["sh", "-c", "echo ran >> /tmp/once; exit 0"]\nrestart = "on-failure"\n'
    )
    yard.generic("ada", options=("--template", "t"))
    assert 8123 in [port["number"] for port in yard.json("ports", "ada")["ports"]]
    yard.inside("ada", "pkill -f http.server || kill $(ls /proc | grep -E '^[0-9]+$' | while read p; do "
                "grep -q http.server /proc/$p/cmdline 2>/dev/null && echo $p; done)")  # fmt: skip
    yard.wait_until(lambda: any(e["kind"] == "service_started" and e["facts"]["restarts"] == 1
                                for e in yard.json("events", "ada")["events"]))  # fmt: skip
    assert yard.inside("ada", "cat /tmp/once").stdout == "ran\n"


def test_ports_are_private_and_can_be_opened(yard: Yard) -> None:
    serve = "mkdir -p /tmp/w; cd /tmp/w; echo %s > index.html; exec python3 -m http.server 8000"
    yard.generic("ada", "sh", "-c", serve % "ada")
    yard.generic("bob", "sh", "-c", serve % "bob")
    for name in ("ada", "bob"):
        yard.wait_until(lambda name=name: yard.json("ports", name)["ports"])
    import json
    import os
    import sys
    import urllib.request
    from pathlib import Path

    command = [str(Path(sys.executable).with_name("seatrial")), "agent", "open", "bob", "8000", "--json"]
    opened = subprocess.Popen(command, cwd=yard.repository, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "SEATRIAL_HOME": str(yard.home)})  # fmt: skip
    with opened:
        assert opened.stdout
        url = json.loads(opened.stdout.readline())["url"]
        with urllib.request.urlopen(url, timeout=20) as page:
            assert page.read() == b"bob\n"
        opened.terminate()
