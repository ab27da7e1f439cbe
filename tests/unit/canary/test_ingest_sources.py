"""Taking in what is no plain file: archives, OpenCode's stores, the list of prompts; and what must not be kept."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from seatrial.canary import discovery
from seatrial.canary.history import History
from seatrial.canary.ingest import ingest
from tests.unit.canary import codex_lines, opencode_stores
from tests.unit.canary.claude_logs import BEGIN, name, session_lines, write
from tests.unit.canary.ingests import counts, small_tree, take, totals

DATA = Path(__file__).parents[4] / "shared" / "data" / "canary"
SECRET = "xyzzy-do-not-keep-me"


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History.open(tmp_path / "history" / "history.db") as found:
        yield found


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz"])
def test_an_archive_says_what_its_tree_says(history: History, tmp_path: Path, suffix: str) -> None:
    small_tree(tmp_path / "logs")
    archive = tmp_path / f"a{suffix}"
    with tarfile.open(archive, f"w:{suffix[5:]}") as made:
        made.add(tmp_path / "logs", ".")
    told: list[tuple[int, int]] = []
    report = take(history, archive, report=lambda done, total: told.append((done, total)))
    assert (report.files_read, report.skipped) == (4, [])
    assert told[-1][0] == told[-1][1] == archive.stat().st_size
    with History.open(tmp_path / "tree.db") as tree:
        take(tree, tmp_path / "logs")
        assert history.sessions() == tree.sessions()
    assert (take(history, archive).files_unchanged, history.health()["gone"]) == (4, 0)
    archive.unlink()
    take(history, tmp_path / "logs")
    assert (history.health()["gone"], history.health()["sessions_gone"]) == (4, 0)


def test_a_changed_archive_is_read_where_it_changed(history: History, tmp_path: Path) -> None:
    small_tree(tmp_path / "logs")
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as made:
        made.add(tmp_path / "logs", ".")
    take(history, archive)
    write(tmp_path / "logs" / "dev0", name(9), session_lines(name(9), 1))
    (tmp_path / "logs" / "dev1" / "-home-me-work" / f"{name(3)}.jsonl").unlink()
    with tarfile.open(archive, "w") as made:
        made.add(tmp_path / "logs", ".")
    report = take(history, archive)
    assert (report.files_read, report.files_unchanged, report.files_gone) == (1, 3, 1)
    assert len(history.sessions()) == 5


def test_a_damaged_archive_keeps_what_came_before_the_damage(history: History, tmp_path: Path) -> None:
    small_tree(tmp_path / "logs")
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=0) as made:
        made.add(tmp_path / "logs", ".")
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size * 2 // 3])
    report = take(history, archive)
    assert 0 < report.files_read < 4
    assert ["the rest of it cannot be read" in one.reason for one in report.skipped] == [True]
    assert take(history, archive).files_gone == 0


def test_a_session_in_opencodes_folder_is_read_when_it_changed(history: History, tmp_path: Path) -> None:
    first = opencode_stores.user(1, opencode_stores.text("go"))
    opencode_stores.write_folder(tmp_path / "logs", [first, opencode_stores.assistant(2)])
    assert take(history, tmp_path / "logs").sessions_new == 1
    assert take(history, tmp_path / "logs").files_unchanged == 1
    opencode_stores.write_folder(tmp_path / "logs", [first, opencode_stores.assistant(2), opencode_stores.assistant(3)])
    assert take(history, tmp_path / "logs").sessions_updated == 1
    assert totals(history) == {opencode_stores.SESSION: (2, 1, 0, 18)}


def test_only_the_sessions_of_a_database_that_changed_are_read(history: History, tmp_path: Path) -> None:
    file = tmp_path / "logs" / "opencode.db"
    file.parent.mkdir()
    messages = [opencode_stores.user(1, opencode_stores.text("go")), opencode_stores.assistant(2)]
    opencode_stores.write_database(file, messages)
    other = {**opencode_stores.HEADER, "id": "ses_other"}
    opencode_stores.write_database(file, [({**one, "id": "o" + one["id"]}, []) for one, _ in messages], other)
    report = take(history, tmp_path / "logs")
    assert (report.sessions_new, report.files_read) == (2, 2)
    assert take(history, tmp_path / "logs").files_unchanged == 2
    with closing(sqlite3.connect(file)) as writer:
        # What is written while the program runs lies beside the database.
        writer.execute("PRAGMA journal_mode=WAL")
        take(history, tmp_path / "logs")
        writer.execute("INSERT INTO message SELECT 'x' || id, session_id, 1, ?, data FROM message"
                       " WHERE session_id = 'ses_other'", (2 * opencode_stores.BEGIN,))  # fmt: skip
        writer.commit()
        before = file.stat()
        report = take(history, tmp_path / "logs")
        assert (file.stat().st_mtime_ns, file.stat().st_size) == (before.st_mtime_ns, before.st_size)
    assert (report.files_read, report.files_unchanged, report.sessions_updated) == (1, 1, 1)
    assert totals(history) == {opencode_stores.SESSION: (1, 1, 0, 9), "ses_other": (2, 2, 0, 18)}
    with closing(sqlite3.connect(file)) as writer, writer:
        writer.execute("DELETE FROM message WHERE session_id = 'ses_other'")
    assert take(history, tmp_path / "logs").files_gone == 1
    assert len(history.sessions()) == 2


def test_a_database_that_is_none_is_said(history: History, tmp_path: Path) -> None:
    (tmp_path / "opencode.db").write_bytes(b"nonsense" * 1000)
    report = take(history, tmp_path / "opencode.db")
    assert [one.reason.split(":")[0] for one in report.skipped] == ["not a database of OpenCode that can be read"]


def test_a_fork_of_codex_and_its_archived_copy_count_once(history: History, tmp_path: Path) -> None:
    own = [*codex_lines.typed(1, "go"), codex_lines.context(1), codex_lines.said(2, "Done.", "assistant")]
    content = codex_lines.content(codex_lines.meta(), *own, codex_lines.counted(2, codex_lines.usage(10, 0, 5)))
    for folder in ("sessions/2026/02/02", "archived_sessions"):
        file = tmp_path / "logs" / ".codex" / folder / f"rollout-2026-02-02T10-00-00-{codex_lines.THREAD}.jsonl"
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    report = take(history, tmp_path / "logs")
    assert totals(history) == {codex_lines.THREAD: (1, 1, 0, 5)}
    assert (report.duplicates, report.files_read) == (1, 2)


def prompted(session: str, seconds: float) -> bytes:
    at = int((BEGIN + seconds) * 1000)
    return json.dumps({"display": SECRET, "timestamp": at, "project": "/p", "sessionId": session}).encode() + b"\n"


def test_the_census_of_lost_sessions_is_what_was_lost(history: History, tmp_path: Path) -> None:
    root = tmp_path / ".claude"
    day = 86400
    (root / "projects").mkdir(parents=True)
    entries = b"".join(prompted(name(n), n * day) + prompted(name(n), n * day + 60) for n in range(10))
    (root / "history.jsonl").write_bytes(b'{"display":"old","timestamp":1}\nnonsense\n' + entries)
    for number in (0, 1, 5, 9):
        write(root / "projects", name(number), session_lines(name(number), 1))
    report = ingest(history, discovery.ordinary({}, tmp_path))
    assert report.lost == {"prompted": 10, "sessions": 6, "first": BEGIN + 2.0 * day, "last": BEGIN + 8.0 * day + 60}
    # What is deleted later was seen and is not lost; the list itself may be emptied.
    (root / "projects" / "-home-me-work" / f"{name(9)}.jsonl").unlink()
    (root / "history.jsonl").write_bytes(prompted(name(11), 11 * day))
    again = ingest(history, discovery.ordinary({}, tmp_path))
    assert (again.lost["prompted"], again.lost["sessions"]) == (11, 7)
    assert ingest(history, discovery.ordinary({}, tmp_path)).lost == again.lost


def secret_logs(root: Path) -> Path:
    """Logs of all agents with the secret wherever words can be."""
    odd = json.dumps({"type": f"{SECRET} {'x' * 80}", "sessionId": "s"}).encode() + b"\n"
    write(root / "c", name(1), session_lines(name(1), 2, secret=SECRET) + odd + f"nonsense {SECRET}\n".encode() * 30)
    codex = codex_lines.content(
        codex_lines.meta(cwd=f"/{SECRET}/work", base_instructions={"text": SECRET}),
        *codex_lines.typed(1, SECRET),
        codex_lines.context(1),
        codex_lines.item(1, "reasoning", summary=[{"text": SECRET}], encrypted_content=SECRET),
        codex_lines.shell(1, "call", "echo", SECRET),
        codex_lines.output(2, "call", SECRET),
        codex_lines.said(2, SECRET, "assistant"),
        codex_lines.line(f"{SECRET}\n", 3),
    )
    (root / "rollout-1.jsonl").write_bytes(codex)
    header = {"sessionId": "g", "projectHash": "ab", "directories": [f"/{SECRET}/work"], "summary": SECRET}
    call = {"id": "1", "name": "x", "args": {"command": SECRET}, "status": "error", "result": [SECRET]}
    gemini = [header, {"id": "1", "type": "user", "content": SECRET}, {"id": "2", "type": "gemini", "content": SECRET,
              "thoughts": [{"subject": SECRET}], "toolCalls": [call]}]  # fmt: skip
    (root / "gemini.jsonl").write_bytes(b"".join(json.dumps(one).encode() + b"\n" for one in gemini))
    part, used = opencode_stores.text(SECRET), opencode_stores.tool("bash", input={"command": SECRET}, output=SECRET)
    messages = [opencode_stores.user(1, part), opencode_stores.assistant(2, part, used)]
    opencode_stores.write_folder(
        root, messages, {**opencode_stores.HEADER, "title": SECRET, "directory": f"/{SECRET}/w"}
    )
    (root / "history.jsonl").write_bytes(prompted("lost", 1))
    return root


def test_no_word_of_a_log_is_in_the_history(history: History, tmp_path: Path) -> None:
    report = take(history, secret_logs(tmp_path / "logs"))
    assert report.sessions_new == 4
    assert {found.agent for found in history.sessions()} == {"claude_code", "codex", "gemini", "opencode"}
    files = list(history.path.parent.iterdir())
    assert any(file.name.endswith("-wal") and file.stat().st_size for file in files)
    assert all(SECRET.encode() not in file.read_bytes() for file in files)
    history.close()
    assert all(SECRET.encode() not in file.read_bytes() for file in history.path.parent.iterdir())


def test_the_real_logs_in_their_archive(history: History, tmp_path: Path) -> None:
    archive = DATA / "claude_code.tar.xz"
    if not archive.exists():
        pytest.skip("the real logs are not there")
    report = take(history, archive)
    assert (report.sessions_new, report.files_read, report.unreadable, report.unknown) == (159, 159, [], {})
    assert (report.lines > 48000, report.bad_lines, report.skipped) == (True, 3, [])
    places = dict.fromkeys(("claude_code/soph", "claude_code/paul", "claude_code/dip"), 0)
    for found in history.sessions():
        places[found.place] += 1
        assert counts(found)[0] >= 0
    assert places == {"claude_code/soph": 120, "claude_code/paul": 24, "claude_code/dip": 15}
    assert take(history, archive).files_unchanged == 159


def test_the_sample_logs_of_all_agents(history: History) -> None:
    if not (DATA / "other").exists():
        pytest.skip("the sample logs are not there")
    report = take(history, DATA / "other")
    assert report.sessions_new >= 13
    assert {found.agent for found in history.sessions()} == {"claude_code", "codex", "gemini", "opencode"}
    assert not [one for one in report.skipped if "reading it failed" in one.reason]
