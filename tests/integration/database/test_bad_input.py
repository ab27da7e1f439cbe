"""What is wrong with a file, a server, a disk or our own state is one clear sentence, and production is as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seatrial import database
from seatrial.database import branches, production
from seatrial.database.project import Project
from tests.integration.database.attacks import state_of_production


@pytest.fixture
def shop_as_it_was(shop: Project) -> Iterator[Project]:
    before = state_of_production(shop)
    yield shop
    assert state_of_production(shop) == before


def refused(project: Project, *words: str, environment: dict[str, str] | None = None) -> str:
    """Run `seatrial db …`, which must fail with one sentence and perhaps a hint, and return both."""
    command = [str(Path(sys.executable).with_name("seatrial")), "db", *words]
    done = subprocess.run(
        command,
        cwd=project.root,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("found:", "warning:"))]
    assert done.returncode in (1, 2, 3), (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert 1 <= len(lines) <= 2, lines
    assert lines[0].startswith("error: ")
    assert len(lines[0]) < 400
    assert len(lines) == 1 or lines[1].startswith("hint: ")
    return "\n".join(lines)


FILES = {
    "not UTF-8": (b"CREATE TABLE caf\xe9 (id int)", "not UTF-8"),
    "UTF-16": ("CREATE TABLE a (id int)".encode("utf-16"), "not UTF-8"),
    "NUL": (b"CREATE TABLE a\0b (id int)", "NUL byte"),
    "a command of psql": (b"SELECT 1;\n\\connect production", "line 2: a backslash"),
    "another command of psql": (b"\\i /etc/passwd", "backslash"),
    "100 MiB": (b"-- x\n" * (20 * 2**20), "100 MiB; at most 16"),
    "an open quote": (b"CREATE TABLE a (b text DEFAULT 'x)", "quoted text is never closed"),
    "an open name": (b'CREATE TABLE "a (b text)', "quoted name is never closed"),
    "an open dollar quote": (b"DO $x$ BEGIN END", r"$x$ begins never ends"),
    "an open comment": (b"/* approved-by: rita\nSELECT 1", "comment is never closed"),
    "COMMIT inside": (b"CREATE TABLE a (id int); COMMIT; CREATE TABLE b (id int)", "COMMIT is refused"),
    "COMMIT hidden in DO": (b"DO $$ BEGIN CREATE TABLE a (id int); COMMIT; END $$", "invalid transaction termination"),
    "COPY FROM STDIN": (b"COPY users (email) FROM STDIN;\nx@example.com\n\\.\n", "COPY is refused"),
    "nothing": (b"", "holds no statement"),
    "only a comment": (b"-- approved-by: rita\n/* state: approved */", "holds no statement"),
    "no SQL": (b"ALTER TABLEAU users", "syntax error"),
    "SET ROLE": (b"SET ROLE seatrial", "is refused"),
    "SET ROLE hidden in DO": (b"DO $$ BEGIN EXECUTE 'SET ROLE seatrial'; END $$", "permission denied"),
    "a long name": (b"CREATE TABLE a (id int); SELECT * FROM " + b"x" * 200_000, "does not exist"),
}


@pytest.mark.parametrize(("content", "told"), FILES.values(), ids=FILES.keys())
def test_a_file_that_cannot_be_proposed(shop_as_it_was: Project, content: bytes, told: str) -> None:
    file = shop_as_it_was.root / "bad.sql"
    file.write_bytes(content)
    assert told in refused(shop_as_it_was, "propose", "bad.sql")
    assert shop_as_it_was.records.all(database.Proposal) == []


@pytest.mark.parametrize(
    "name", ["../../etc/nothing.sql", "\u202etxt.lqs", "a\nb\x1b[2J.sql", "x" * 300, "caf\udce9.sql"]
)
def test_a_file_that_is_not_there(shop_as_it_was: Project, name: str) -> None:
    told = refused(shop_as_it_was, "propose", name)
    assert "cannot be read" in told
    assert "\x1b" not in told


def test_a_file_of_any_name_can_be_refused(shop_as_it_was: Project) -> None:
    (shop_as_it_was.root / os.fsdecode(b"caf\xe9.sql")).write_text("ALTER TABLEAU x")
    assert "syntax error" in refused(shop_as_it_was, "propose", os.fsdecode(b"caf\xe9.sql"))
    assert shop_as_it_was.audit.verify() > 0


def test_a_server_of_another_version(shop_as_it_was: Project) -> None:
    assert "There is no Postgres 13" in refused(
        shop_as_it_was, "branch", "create", "x", environment={"SEATRIAL_DB_POSTGRES": "13"}
    )


def test_a_wrong_password(shop_as_it_was: Project) -> None:
    right = shop_as_it_was.secret("production ro")
    shop_as_it_was.set_secret("production ro", "wrong")
    try:
        assert "password authentication failed" in refused(shop_as_it_was, "drift")
    finally:
        shop_as_it_was.set_secret("production ro", right)


def test_a_server_that_does_not_start(shop_as_it_was: Project) -> None:
    cluster = production.cluster_of(shop_as_it_was)
    cluster.stop()
    version = cluster.data / "PG_VERSION"
    right = version.read_text()
    version.write_text("99\n")
    try:
        assert "does not start" in refused(shop_as_it_was, "drift")
    finally:
        version.write_text(right)
        cluster.start()


def test_a_collation_of_another_version_stops_nothing(shop_as_it_was: Project) -> None:
    """The server only warns; whether indexes still sort as they did is not ours to decide."""
    branch = database.create_branch(shop_as_it_was, database.Wish("sorted"))
    with branches.cluster_of(shop_as_it_was, branch).connect("shop") as connection:
        connection.execute("UPDATE pg_database SET datcollversion = '0' WHERE datname = 'shop'")
        connection.execute("UPDATE pg_collation SET collversion = '0' WHERE collversion IS NOT NULL")
    assert database.diff_rows(shop_as_it_was, "sorted").changes == ()
    database.create_branch(shop_as_it_was, database.Wish("of-sorted", parent="sorted"))
    database.delete_branch(shop_as_it_was, "of-sorted")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "\0\0\0"])
@pytest.mark.parametrize("name", ["secrets.json", "project.json"])
def test_damaged_state(shop_as_it_was: Project, name: str, content: str) -> None:
    file = shop_as_it_was.folder / name
    right = file.read_bytes()
    file.write_text(content)
    try:
        assert "is damaged" in refused(shop_as_it_was, "branch", "create", "x")
    finally:
        file.write_bytes(right)
    assert database.all_branches(shop_as_it_was) == []


def test_a_damaged_audit_log(shop_as_it_was: Project) -> None:
    file = shop_as_it_was.folder / "audit.jsonl"
    right = file.read_bytes()
    file.write_bytes(right + b'{"number": 7')
    try:
        assert "is damaged" in refused(shop_as_it_was, "branch", "create", "x")
        assert "is damaged" in refused(shop_as_it_was, "log", "--verify")
    finally:
        file.write_bytes(right)


def test_records_that_are_no_database(shop_as_it_was: Project, tmp_path: Path) -> None:
    home = Path(os.environ["SEATRIAL_HOME"])
    shutil.copytree(home, tmp_path / "home")
    folder = tmp_path / "home" / shop_as_it_was.folder.relative_to(home)
    for suffix in ("", "-wal", "-shm"):
        (folder / f"records.db{suffix}").unlink(missing_ok=True)
    (folder / "records.db").write_bytes(b"this is no database, whatever it is" * 200)
    told = refused(shop_as_it_was, "branch", "create", "x", environment={"SEATRIAL_HOME": str(tmp_path / "home")})
    assert "cannot be used" in told
