"""Finding logs: in the ordinary places, in trees of every kind, past everything that must not be opened."""

from __future__ import annotations

import io
import os
import socket
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seatrial.canary import archives, discovery
from seatrial.canary.recognition import first_time, place_of, recognised
from seatrial.errors import InputFileError
from tests.unit.canary import codex_lines, opencode_stores
from tests.unit.canary.claude_logs import BEGIN, name, session_lines, write

CLAUDE = session_lines(name(1), 1)
CODEX = codex_lines.content(codex_lines.meta(), codex_lines.said(1, "go"))
GEMINI = b'{"sessionId":"s","projectHash":"ab","startTime":"2026-05-01T10:00:00Z"}\n'


def put(file: Path, content: bytes = b"{}\n") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def names(found: discovery.Sources, root: Path) -> dict[str, tuple[str, str | None]]:
    return {os.path.relpath(log.path, root): (log.form, log.agent) for log in found.logs}


def test_the_ordinary_places(tmp_path: Path) -> None:
    home = tmp_path
    put(home / ".claude/projects/-p/a.jsonl")
    put(home / ".claude/projects/-p/a/subagents/agent-1.jsonl")
    put(home / ".claude/projects/-p/a/subagents/agent-1.meta.json")
    put(home / ".claude/projects/-p/a/tool-results/x.txt")
    put(home / ".claude/history.jsonl")
    put(home / ".config/claude/projects/-q/b.jsonl")
    put(home / ".codex/sessions/2026/02/02/rollout-1.jsonl")
    put(home / ".codex/archived_sessions/rollout-2.jsonl")
    put(home / ".codex/history.jsonl")
    put(home / ".gemini/tmp/abc/chats/session-1.json")
    put(home / ".gemini/tmp/abc/chats/parent/2.jsonl")
    put(home / ".gemini/tmp/abc/logs.json")
    data = home / ".local/share/opencode"
    put(data / "storage/session/p/ses_1.json")
    put(data / "storage/message/ses_1/msg_1.json")
    put(data / "opencode.db")
    found = discovery.ordinary({}, home)
    assert names(found, home) == {
        ".claude/projects/-p/a.jsonl": ("file", "claude_code"),
        ".claude/projects/-p/a/subagents/agent-1.jsonl": ("file", "claude_code"),
        ".claude/history.jsonl": ("prompts", "claude_code"),
        ".config/claude/projects/-q/b.jsonl": ("file", "claude_code"),
        ".codex/sessions/2026/02/02/rollout-1.jsonl": ("file", "codex"),
        ".codex/archived_sessions/rollout-2.jsonl": ("file", "codex"),
        ".gemini/tmp/abc/chats/session-1.json": ("file", "gemini"),
        ".gemini/tmp/abc/chats/parent/2.jsonl": ("file", "gemini"),
        ".local/share/opencode/storage/session/p/ses_1.json": ("folder", "opencode"),
        ".local/share/opencode/opencode.db": ("store", "opencode"),
    }
    assert found.skipped == []
    assert all(log.inside == "" for log in found.logs)


def test_places_that_the_environment_names(tmp_path: Path) -> None:
    for place in ("one", "two", ".claude"):
        put(tmp_path / place / "projects/-p/a.jsonl")
    put(tmp_path / "codex/sessions/rollout-1.jsonl")
    put(tmp_path / "data/opencode/opencode.db")
    environment = {
        "CLAUDE_CONFIG_DIR": f"{tmp_path / 'one'}, {tmp_path / 'two'}",
        "CODEX_HOME": str(tmp_path / "codex"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }
    found = names(discovery.ordinary(environment, tmp_path), tmp_path)
    assert sorted(found) == [
        "codex/sessions/rollout-1.jsonl",
        "data/opencode/opencode.db",
        "one/projects/-p/a.jsonl",
        "two/projects/-p/a.jsonl",
    ]


def test_no_logs_at_all(tmp_path: Path) -> None:
    assert discovery.ordinary({}, tmp_path) == discovery.Sources()


@pytest.mark.parametrize(
    ("agent", "inside", "place"),
    [
        ("claude_code", "claude_code/dip/-p/a.jsonl", "claude_code/dip"),
        ("claude_code", "dip/-p/a.jsonl", "dip"),
        ("claude_code", "-p/a.jsonl", ""),
        ("claude_code", "a.jsonl", ""),
        ("claude_code", "projects/-p/a.jsonl", ""),
        ("claude_code", "alice/.claude/projects/-p/a.jsonl", "alice"),
        ("claude_code", "dip/-p/a/subagents/agent-1.jsonl", "dip"),
        ("claude_code", "dip/-p/a/subagents/workflows/wf_1/agent-1.jsonl", "dip"),
        ("claude_code", "repo/0a/1b2c3d4e5f/0/full.jsonl", "repo"),
        ("claude_code", "0a/1b2c3d4e5f/12/full.jsonl", ""),
        ("codex", "repo/0a/1b2c3d4e5f/0/full.jsonl", "repo"),
        ("codex", "alice/.codex/sessions/2026/02/02/rollout-1.jsonl", "alice"),
        ("codex", "box/archived_sessions/rollout-1.jsonl", "box"),
        ("codex", "some/rollout-1.jsonl", "some"),
        ("gemini", "alice/.gemini/tmp/abc/chats/session-1.json", "alice"),
        ("gemini", "tmp/abc/chats/session-1.json", ""),
        ("opencode", "alice/.local/share/opencode/storage/session/p/ses_1.json", "alice"),
        ("opencode", "alice/opencode/opencode.db", "alice"),
        ("opencode", "", ""),
    ],
)
def test_the_place_of_a_log(agent: discovery.AgentName, inside: str, place: str) -> None:
    assert place_of(agent, inside) == place


@pytest.mark.parametrize(
    ("head", "agent"),
    [
        (CLAUDE, "claude_code"),
        (b'{"type":"summary","summary":"x","leafUuid":"y"}\n', "claude_code"),
        (b'{"type":"file-history-snapshot","messageId":"a","snapshot":{"trackedFileBackups":{', "claude_code"),
        (b'{"type":"queue-operation","operation":"enqueue","timestamp":"x","sessionId":"y"}\n', "claude_code"),
        (b'{"type":"mode","mode":"normal","sessionId":"y"}\n', "claude_code"),
        (CODEX, "codex"),
        (b'{"id":"a","timestamp":"2025-06-01T10:00:00Z","instructions":null}\n', "codex"),
        (GEMINI, "gemini"),
        (b'{\n  "kind": "chat",\n  "projectHash": "ab",\n  "sessionId": "s",\n "messages": [', "gemini"),
        (b'{"a": 1}\n{"b": 2}\n', None),
        (b'{"role":"user","text":"\\"type\\":\\"session_meta\\" and \\"projectHash\\":\\"x\\""}\n', None),
        (b'{"v":1,"agent":"Claude Code","type":"user","ts":"x","content":[{"text":"\\"sessionId\\":"}]}', None),
        (b"", None),
        (b"\0" * 99, None),
    ],
)
def test_whose_log_it_is(head: bytes, agent: str | None) -> None:
    assert recognised(head) == agent


def test_when_a_log_begins() -> None:
    assert first_time(CLAUDE) == BEGIN
    assert first_time(CODEX) == codex_lines.BEGIN
    assert first_time(b'{"time":{"created":1770000000000}}') == 1770000000
    assert first_time(b'{"timestamp":"not a time at all"}\n{"timestamp":"2026-05-01T10:00:00Z"}') == 1777629600
    assert first_time(b'{"a": 1}') == 0.0


def test_a_tree_of_several_machines_and_agents(tmp_path: Path) -> None:
    write(tmp_path / "box", name(1), CLAUDE)
    put(tmp_path / "box/.codex/sessions/2026/02/02/rollout-1.jsonl", CODEX)
    put(tmp_path / "box/.gemini/tmp/abc/chats/session-1.json", b"{}")
    put(tmp_path / "other.txt")
    put(tmp_path / "package.json")
    put(tmp_path / "backup.tar.gz")
    put(tmp_path / "history.jsonl")
    opencode_stores.write_folder(tmp_path / "oc", opencode_stores.Messages())
    found = discovery.under(tmp_path)
    assert names(found, tmp_path) == {
        f"box/-home-me-work/{name(1)}.jsonl": ("file", None),
        "box/.codex/sessions/2026/02/02/rollout-1.jsonl": ("file", None),
        "box/.gemini/tmp/abc/chats/session-1.json": ("file", None),
        "history.jsonl": ("prompts", "claude_code"),
        f"oc/storage/session/project/{opencode_stores.SESSION}.json": ("folder", "opencode"),
    }
    assert [(Path(one.path).name, one.reason.split(";")[0]) for one in found.skipped] == [
        ("backup.tar.gz", "an archive in a folder")
    ]


def test_one_file_can_be_named(tmp_path: Path) -> None:
    file = write(tmp_path, name(1), CLAUDE)
    assert [(log.path, log.inside) for log in discovery.under(file).logs] == [(str(file), file.name)]


def test_nothing_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"Cannot read logs from .*: No such file") as caught:
        discovery.under(tmp_path / "nothing")
    assert caught.value.hint


def test_what_is_no_ordinary_file_is_said_and_not_opened(tmp_path: Path) -> None:
    write(tmp_path, name(1), CLAUDE)
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "broken.jsonl").symlink_to(tmp_path / "nothing")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.jsonl"))
        found = discovery.under(tmp_path)
    assert len(found.logs) == 1
    reasons = {Path(one.path).name: one.reason for one in found.skipped}
    assert reasons == {
        "pipe.jsonl": "not a regular file",
        "socket.jsonl": "not a regular file",
        "broken.jsonl": "it is gone",
    }


def test_loops_and_second_ways_to_the_same_end(tmp_path: Path) -> None:
    file = write(tmp_path / "projects", name(1), CLAUDE)
    (file.parent / "loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(file.parent)
    (file.parent / "zzz.jsonl").symlink_to(file)
    found = discovery.under(tmp_path)
    assert len(found.logs) == 1
    assert sorted(one.reason for one in found.skipped) == [
        "a link to a file that was read already",
        "a link to a folder that was read already",
        "a link to a folder that was read already",
    ]


@contextmanager
def nobody() -> Iterator[Path]:
    """A folder and, for root, another user, since root may read everything."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        user = os.geteuid()
        try:
            yield Path(folder)
        finally:
            if os.geteuid() != user:
                os.seteuid(user)


def become_nobody() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


def test_folders_that_may_not_be_read_are_said() -> None:
    with nobody() as folder:
        write(folder / "open", name(1), CLAUDE)
        closed = write(folder / "closed", name(2), CLAUDE).parent
        closed.chmod(0o000)
        become_nobody()
        found = discovery.under(folder)
        assert len(found.logs) == 1
        assert [(one.path, one.reason) for one in found.skipped] == [(str(closed), "permission denied")]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path, "x", CLAUDE).rename(os.fsdecode(os.fsencode(tmp_path / "-home-me-work") + b"/\xff.jsonl"))
    log = discovery.under(tmp_path).logs[0]
    assert log.name.endswith("/\\xff.jsonl")
    log.inside.encode()


def tar_of(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(content), BEGIN
            archive.addfile(member, io.BytesIO(content))
        for kind in (tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE):
            odd = tarfile.TarInfo(f"p/odd{kind.decode()}.jsonl")
            odd.type, odd.linkname = kind, "/etc/passwd"
            archive.addfile(odd)
    return made.getvalue()


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip"])
def test_members_of_an_archive(tmp_path: Path, suffix: str) -> None:
    files = {"./dip/p/a.jsonl": CLAUDE, "dip/p/notes.txt": b"x", "../b.jsonl": CODEX}
    archive = tmp_path / f"logs{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as made:
            for path, content in files.items():
                made.writestr(path, content)
    else:
        plain = tmp_path / "plain"
        plain.write_bytes(tar_of(files))
        with (
            open(archive, "wb") as target,
            tarfile.open(fileobj=target, mode=f"w:{suffix[5:]}") as made,
            tarfile.open(plain) as given,
        ):
            for member in given:
                made.addfile(member, given.extractfile(member) if member.isreg() else None)
        plain.unlink()
    assert [(log.form, log.path) for log in discovery.under(archive).logs] == [("archive", str(archive))]
    told: list[int] = []
    found = [(log, stream.read(), list(told)) for log, stream in archives.members(archive, told.append)]
    assert [(log.inside, content) for log, content, _ in found] == [("dip/p/a.jsonl", CLAUDE), ("../b.jsonl", CODEX)]
    assert all(log.form == "member" and log.size == len(content) for log, content, _ in found)
    assert list(tmp_path.iterdir()) == [archive]
    assert told == sorted(told)
