"""Taking logs into the history: nothing twice, nothing lost, whatever happens to the files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial import paths
from seatrial.canary import discovery
from seatrial.canary.history import History
from seatrial.canary.ingest import ingest
from tests.conftest import REPOSITORY
from tests.unit.canary.claude_logs import BEGIN, lines, name, session_lines, turn, write
from tests.unit.canary.ingests import (
    FAMILY,
    contents,
    counts,
    pack_family,
    small_tree,
    summed,
    take,
    totals,
    write_family,
)
from tests.unit.canary.test_discovery import become_nobody, nobody


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History.open(tmp_path / "history" / "history.db") as found:
        yield found


def test_the_second_time_nothing_is_opened_and_nothing_changes(history: History, tmp_path: Path) -> None:
    small_tree(tmp_path / "logs")
    first = take(history, tmp_path / "logs")
    assert (first.files_read, first.sessions_new, first.files_unchanged, first.duplicates) == (4, 4, 0, 0)
    assert summed(history) == (28, 14, 14, 2800)
    assert {found.place for found in history.sessions()} == {"dev0", "dev1"}
    before = contents(history)
    opened: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and str(arguments[0]).endswith(".jsonl"):
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    second = take(history, tmp_path / "logs")
    watching = False
    assert opened == []
    assert (second.files_read, second.files_unchanged, second.bytes_read, second.sessions_updated) == (0, 4, 0, 0)
    assert contents(history) == before


def test_progress_ends_at_the_whole(history: History, tmp_path: Path) -> None:
    small_tree(tmp_path / "logs")
    told: list[tuple[int, int]] = []
    take(history, tmp_path / "logs", report=lambda done, total: told.append((done, total)))
    size = sum(path.stat().st_size for path in (tmp_path / "logs").rglob("*.jsonl"))
    assert told[-1] == (size, size)
    assert told == sorted(told)


def test_a_log_that_grows_is_as_if_read_at_its_end(history: History, tmp_path: Path) -> None:
    whole = session_lines(name(1), 6)
    for part in (len(whole) // 3, len(whole) // 2, len(whole) - 7, len(whole)):
        write(tmp_path / "logs", name(1), whole[:part])
        report = take(history, tmp_path / "logs")
        assert (report.files_read, report.bad_lines, report.rewrites) == (1, 0, 0)
    assert totals(history) == {name(1): (12, 6, 6, 1200)}
    with History.open(tmp_path / "other.db") as other:
        take(other, tmp_path / "logs")
        assert [row[2] for row in other.rows("SELECT * FROM sessions")] == [
            row[2] for row in history.rows("SELECT * FROM sessions")
        ]
        assert other.sessions() == history.sessions()


def test_a_log_that_is_written_while_it_is_read_is_read_on_the_next_time(tmp_path: Path) -> None:
    file = write(tmp_path, name(1), session_lines(name(1), 2))
    found = discovery.under(tmp_path)
    with file.open("ab") as stream:
        stream.write(session_lines(name(1), 1, first=2))
        stream.write(b'{"type":"user","uuid":"unfin')
    with History.open(tmp_path / "h.db") as history:
        report = ingest(history, found)
        assert (report.bad_lines, totals(history)[name(1)][0]) == (0, 6)
        with file.open("ab") as stream:
            stream.write(b'ished","type":"user"}\n')
        assert ingest(history, discovery.under(tmp_path)).files_read == 1
        assert ingest(history, discovery.under(tmp_path)).files_read == 0


def test_a_rewritten_log_that_shows_less_erases_nothing(history: History, tmp_path: Path) -> None:
    write(tmp_path / "logs", name(1), session_lines(name(1), 5))
    take(history, tmp_path / "logs")
    known = history.sessions()
    write(tmp_path / "logs", name(1), session_lines(name(1), 2, first=3))
    report = take(history, tmp_path / "logs")
    assert (report.rewrites, report.kept, report.sessions_updated) == (1, 1, 0)
    assert history.sessions() == known
    write(tmp_path / "logs", name(1), session_lines(name(1), 9, first=3))
    report = take(history, tmp_path / "logs")
    assert (report.rewrites, report.kept, report.sessions_updated) == (0, 0, 1)
    assert totals(history) == {name(1): (18, 9, 9, 1800)}
    assert history.health()["rewrites"] == 1


def test_a_log_that_is_cut_is_a_rewrite(history: History, tmp_path: Path) -> None:
    whole = session_lines(name(1), 9)
    write(tmp_path / "logs", name(1), whole)
    take(history, tmp_path / "logs")
    write(tmp_path / "logs", name(1), whole[: len(whole) // 2])
    assert take(history, tmp_path / "logs").rewrites == 1
    assert totals(history) == {name(1): (18, 9, 9, 1800)}


def test_sessions_whose_logs_are_deleted_stay(history: History, tmp_path: Path) -> None:
    small_tree(tmp_path / "logs")
    take(history, tmp_path / "logs")
    known, file = history.sessions(), tmp_path / "logs" / "dev1" / "-home-me-work" / f"{name(1)}.jsonl"
    content = file.read_bytes()
    file.unlink()
    report = take(history, tmp_path / "logs")
    assert (report.files_gone, report.files_unchanged) == (1, 3)
    assert history.sessions() == known
    assert (history.health()["sessions_gone"], history.health()["gone"]) == (1, 1)
    assert take(history, tmp_path / "logs").files_gone == 0
    file.write_bytes(content)
    take(history, tmp_path / "logs")
    assert (history.health()["sessions_gone"], history.sessions()) == (0, known)


def test_what_a_resumed_or_forked_session_copied_counts_once(history: History, tmp_path: Path) -> None:
    for session in FAMILY:
        write_family(tmp_path / "logs", session)
    report = take(history, tmp_path / "logs")
    assert totals(history) == {
        name(1): (6, 3, 3, 600),
        name(2): (2, 1, 1, 200),
        name(3): (4, 2, 2, 400),
    }
    assert (report.duplicates, report.read_again) == (10, 0)


@given(st.permutations(sorted(FAMILY)), st.booleans())
@settings(max_examples=20)
def test_the_order_in_which_logs_turn_up_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], packed: bool
) -> None:
    root = tmp_path_factory.mktemp("order")
    with History.open(root / "history.db") as history:
        if packed:
            take(history, pack_family(root / "logs.tar", root / "logs", order))
        else:
            for session in order:
                write_family(root / "logs", session)
                take(history, root / "logs")
        assert totals(history) == {name(1): (6, 3, 3, 600), name(2): (2, 1, 1, 200), name(3): (4, 2, 2, 400)}
        assert history.rows("SELECT COUNT(*) FROM sessions WHERE stale = 1")[0][0] == 0


def test_an_older_copy_that_can_no_longer_be_read_keeps_its_messages(history: History, tmp_path: Path) -> None:
    write_family(tmp_path / "logs", name(2))
    take(history, tmp_path / "logs")
    (tmp_path / "logs" / "-home-me-work" / f"{name(2)}.jsonl").unlink()
    write_family(tmp_path / "logs", name(1))
    take(history, tmp_path / "logs")
    assert summed(history) == (8, 4, 4, 800)


def test_copies_of_one_session_count_once_and_the_fullest_is_taken(history: History, tmp_path: Path) -> None:
    for checkpoint, turns in enumerate((2, 5, 3)):
        file = tmp_path / "logs" / "0a" / "1b2c3d4e5f" / str(checkpoint) / "full.jsonl"
        file.parent.mkdir(parents=True)
        file.write_bytes(session_lines(name(1), turns))
    report = take(history, tmp_path / "logs")
    assert totals(history) == {name(1): (10, 5, 5, 1000)}
    assert (report.sessions_new, report.files_read, report.kept) == (1, 3, 0)
    assert report.duplicates == 10


def test_messages_of_sub_agents_are_those_of_their_own_log(history: History, tmp_path: Path) -> None:
    inner = turn(name(1), 7, origin="agent")
    for one in inner:
        one["isSidechain"] = True
    own = lines(turn(name(1), 0), [dict(one) for one in inner if one["type"] == "assistant"])
    write(tmp_path / "logs", name(1), own)
    sub = tmp_path / "logs" / "-home-me-work" / name(1) / "subagents" / "agent-1.jsonl"
    sub.parent.mkdir(parents=True)
    sub.write_bytes(lines(inner))
    report = take(history, tmp_path / "logs")
    by_population = {found.population: found for found in history.sessions()}
    assert {key: found.messages for key, found in by_population.items()} == {"person": 2, "subagent": 2}
    assert by_population["subagent"].parent == name(1)
    assert sum(day.output for found in history.sessions() for day in found.usage) == 400
    assert (report.duplicates, report.read_again) == (2, 0)


KILLED = """
import os, signal, sys
from pathlib import Path
from seatrial.canary import discovery
from seatrial.canary.history import History
from seatrial.canary.ingest import ingest
left = int(sys.argv[3])
def watch(statement):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
with History.open(Path(sys.argv[1])) as history:
    history.connection.set_trace_callback(watch)
    ingest(history, discovery.under(sys.argv[2]))
"""


def killed_after(statements: int, database: Path, root: Path) -> int:
    command = [sys.executable, "-c", KILLED, str(database), str(root), str(statements)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False
    )
    return done.returncode


@pytest.mark.parametrize("packed", [False, True])
def test_killed_at_any_statement_the_next_ingest_ends_where_it_would_have(tmp_path: Path, packed: bool) -> None:
    # In the archive what was copied comes before what it was copied from, so that sessions are read again.
    root = (
        pack_family(tmp_path / "logs.tar", tmp_path / "logs", sorted(FAMILY, reverse=True))
        if packed
        else tmp_path / "logs"
    )
    for session in FAMILY:
        write_family(tmp_path / "logs", session)
    with History.open(tmp_path / "whole.db") as history:
        assert take(history, root).read_again == (2 if packed else 0)
        expected = contents(history)
    statements, ended = 3, False
    while not ended:
        database = tmp_path / f"{statements}.db"
        code = killed_after(statements, database, root)
        assert code in (0, -signal.SIGKILL)
        ended = code == 0
        if not ended:
            with History.open(database) as history:
                assert history.rows("PRAGMA integrity_check")[0][0] == "ok"
                half = contents(history)[: len(history.sessions())]
                assert packed or all(row in expected for row in half)
                take(history, root)
                assert contents(history) == expected
        statements += 4
    assert statements > 30


def test_the_exit_of_a_killed_ingest_is_a_kill(tmp_path: Path) -> None:
    write(tmp_path / "logs", name(1), session_lines(name(1), 1))
    assert killed_after(5, tmp_path / "h.db", tmp_path / "logs") == -signal.SIGKILL


def test_sessions_whose_wordings_were_counted_by_other_lists_are_read_again(history: History, tmp_path: Path) -> None:
    small_tree(tmp_path / "logs")
    take(history, tmp_path / "logs")
    known = history.sessions()
    (tmp_path / "logs" / "dev1" / "-home-me-work" / f"{name(1)}.jsonl").unlink()
    write(tmp_path / "logs" / "dev1", name(3), session_lines(name(3), 1))
    with history.transaction() as connection:
        connection.execute("UPDATE sessions SET wordings = 0, features = json_set(features, '$.wordings', 0)")
    report = take(history, tmp_path / "logs")
    # One is gone, one shows less now: they stay as they are, and are not read again and again.
    assert (report.read_again, report.kept, report.skipped) == (2, 1, [])
    assert [found.wordings for found in history.sessions()].count(0) == 2
    assert take(history, tmp_path / "logs").read_again == 0
    assert [counts(found) for found in history.sessions()] == [counts(found) for found in known]


def test_two_ingests_at_once_wait_for_each_other(history: History, tmp_path: Path) -> None:
    small_tree(tmp_path / "logs")
    waits, ended = threading.Event(), threading.Event()

    def other() -> None:
        with History.open(history.path) as second:
            take(second, tmp_path / "logs", waiting=waits.set)
        ended.set()

    with paths.locked(history.path.with_suffix(".lock")):
        thread = threading.Thread(target=other)
        thread.start()
        assert waits.wait(60)
        assert not ended.is_set()
        assert history.sessions() == []
    thread.join()
    assert summed(history) == (28, 14, 14, 2800)


def test_logs_that_cannot_be_opened_are_said() -> None:
    with nobody() as folder:
        (folder / "h").mkdir()
        with History.open(folder / "h" / "history.db") as history:
            (folder / "h").chmod(0o777)
            write(folder / "logs", name(1), session_lines(name(1), 1))
            closed = write(folder / "logs", name(2), session_lines(name(2), 1))
            closed.chmod(0o000)
            become_nobody()
            report = take(history, folder / "logs")
            assert [(one.path, one.reason) for one in report.skipped] == [(str(closed), "permission denied")]
            assert list(totals(history)) == [name(1)]
            assert report.files_gone == 0


def test_logs_that_vanish_or_turn_into_pipes_after_they_were_found(history: History, tmp_path: Path) -> None:
    small_tree(tmp_path / "logs")
    found = discovery.under(tmp_path / "logs")
    first, second = found.logs[0].path, found.logs[1].path
    Path(first).unlink()
    Path(second).unlink()
    os.mkfifo(second)
    report = ingest(history, found)
    assert {one.path: one.reason for one in report.skipped} == {first: "it is gone", second: "not a regular file"}
    assert report.files_read == 2


def test_logs_below_the_gate_are_kept_and_not_judged(history: History, tmp_path: Path) -> None:
    file = write(tmp_path / "logs", name(1), session_lines(name(1), 3) + b"nonsense\n" * 20)
    report = take(history, tmp_path / "logs")
    assert (report.unreadable, report.bad_lines, report.lines) == ([str(file)], 20, 32)
    assert history.sessions()[0].excluded
    assert history.health()["unreadable"] == 1
    assert history.health()["bad_lines"] == 20


def test_what_is_no_log_is_said_once(history: History, tmp_path: Path) -> None:
    write(tmp_path / "logs", "other", b'{"a": 1}\n')
    write(tmp_path / "logs", "empty", b"")
    write(tmp_path / "logs", "only-a-title", b'{"type":"ai-title","aiTitle":"x","sessionId":"s"}\n')
    report = take(history, tmp_path / "logs")
    assert sorted(one.reason for one in report.skipped) == [
        "it is empty",
        "no session is in it",
        "not a log of an agent that is known",
    ]
    assert history.sessions() == []
    again = take(history, tmp_path / "logs")
    assert (again.files_read, again.files_unchanged, again.skipped) == (0, 3, [])


def test_names_that_are_no_text(history: History, tmp_path: Path) -> None:
    file = write(tmp_path / "logs", name(1), session_lines(name(1), 1))
    file.rename(os.fsdecode(os.fsencode(file.parent) + b"/\xff\xfe.jsonl"))
    assert take(history, tmp_path / "logs").sessions_new == 1
    assert take(history, tmp_path / "logs").files_unchanged == 1


def test_sessions_can_be_chosen(history: History, tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / "logs", name(number), session_lines(name(number), 1, first=1000 * number))
    take(history, tmp_path / "logs")
    starts = [found.start for found in history.sessions()]
    assert starts == [BEGIN + 60000.0 * number for number in range(4)]
    assert [found.start for found in history.sessions(since=starts[1], until=starts[3])] == starts[1:3]
    assert len(history.sessions(agent="claude_code", project="work")) == 4
    assert history.sessions(agent="codex") == history.sessions(project="play") == []
