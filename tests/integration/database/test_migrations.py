"""Folders of migrations, and migration tools that are run on a branch for what they do there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from seatrial import database
from seatrial.database.gate.statement_log import committed
from seatrial.database.project import Project
from seatrial.errors import ProposalError, StatementError


@pytest.fixture
def folder(shop: Project) -> Path:
    if "rita" not in database.reviewers(shop):
        database.add_reviewer(shop, "rita")
    folder = shop.root / "migrations"
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    return folder


def apply(project: Project, change: database.Change) -> database.Proposal:
    proposal = database.propose(project, change, author="ann")
    database.approve(project, proposal.id, approver="rita", hazards=proposal.opened().hazards)
    return database.apply(project, proposal.id).proposal


def states(project: Project) -> dict[str, str]:
    return {entry.name: entry.state for entry in database.migrations(project)}


def test_pending_files_are_one_change_and_then_applied(shop: Project, folder: Path) -> None:
    (folder / "0002_second.sql").write_text("ALTER TABLE first ADD COLUMN b int;\n")
    (folder / "0001_first.sql").write_text("CREATE TABLE first (a int PRIMARY KEY);\n")
    assert states(shop) == {"0001_first.sql": "pending", "0002_second.sql": "pending"}
    proposal = apply(shop, database.change_from(shop, migrations=True))
    assert [name for name, _ in proposal.opened().files] == ["0001_first.sql", "0002_second.sql"]
    assert set(states(shop).values()) == {"applied"}
    with pytest.raises(StatementError, match="No migration is pending"):
        database.change_from(shop, migrations=True)

    (folder / "0003_third.sql").write_text("SELECT 1;\n")
    (folder / "0001_first.sql").write_text("CREATE TABLE first (a bigint PRIMARY KEY);\n")
    with pytest.raises(StatementError, match=r"0001_first.sql was changed after it was applied"):
        database.change_from(shop, migrations=True)
    (folder / "0001_first.sql").unlink()
    with pytest.raises(StatementError, match=r"0001_first.sql was applied and is gone"):
        database.change_from(shop, migrations=True)
    (folder / "0001_first.sql").write_text("CREATE TABLE first (a int PRIMARY KEY);\n")
    (folder / "0000_late.sql").write_text("SELECT 1;\n")
    with pytest.raises(StatementError, match=r"0000_late.sql comes before one that is applied"):
        database.change_from(shop, migrations=True)


@pytest.mark.parametrize("name", ["first.sql", "0001-first.sql", "0001_First.sql", "0001_\u202efirst.sql"])
def test_names_that_say_no_order_are_refused_and_not_skipped(shop: Project, folder: Path, name: str) -> None:
    (folder / name).write_text("SELECT 1;\n")
    with pytest.raises(StatementError, match="says no order"):
        database.migrations(shop)


def test_the_same_number_twice_is_refused(shop: Project, folder: Path) -> None:
    for name in ("0007_one.sql", "7_other.sql"):
        (folder / name).write_text("SELECT 1;\n")
    with pytest.raises(StatementError, match="have the same number"):
        database.migrations(shop)


SCRIPT = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as c:
    c.execute("CREATE TABLE made (id int PRIMARY KEY, t text)")
    c.execute("SELECT count(*) FROM made")
    c.execute("INSERT INTO made VALUES (%s, %s)", [1, "it's $1"])
    c.execute("SAVEPOINT s"); c.execute("CREATE TABLE undone (a int)"); c.execute("ROLLBACK TO s")
with psycopg.connect(os.environ["DATABASE_URL"]) as c:
    c.execute("CREATE TABLE rolled_back (a int)"); c.rollback()
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as c:
    try: c.execute("CREATE TABLE made (id int)")
    except psycopg.Error: pass
    c.execute("CREATE INDEX CONCURRENTLY ON made (t)")
"""


def test_what_a_command_does_to_a_branch_is_the_change(shop: Project, folder: Path) -> None:
    script = shop.root / "tool.py"
    script.write_text(SCRIPT)
    change = database.change_from(shop, command=f"{sys.executable} tool.py")
    proposal = apply(shop, change)
    assert [statement.kind for statement in proposal.opened().statements] == ["CREATE TABLE", "INSERT", "CREATE INDEX"]
    with psycopg.connect(database.url(shop)) as connection:
        assert connection.execute("SELECT * FROM made").fetchall() == [(1, "it's $1")]
    with pytest.raises(ProposalError, match="fails on the branch with 1"):
        database.change_from(shop, command=f"{sys.executable} -c 'raise SystemExit(1)'")
    with pytest.raises(ProposalError, match="changes nothing"):
        database.change_from(shop, command="true")
    with pytest.raises(ProposalError, match="cannot be run"):
        database.change_from(shop, command="no-such-tool")
    with pytest.raises(StatementError, match="What is to be proposed"):
        database.change_from(shop)


ENVIRONMENT = """
import os
from alembic import context
from sqlalchemy import create_engine
url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
with create_engine(url).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
from alembic import op
import sqlalchemy as sa
revision, down_revision = "a1", None
def upgrade():
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String(200)))
    op.bulk_insert(sa.table("notes", sa.column("text", sa.String)), [{"text": "hello"}])
"""


def test_alembic_is_recognised_and_run(shop: Project, folder: Path) -> None:
    pytest.importorskip("alembic", reason="install with: pip install 'seatrial[dev]'")
    program = Path(sys.executable).with_name("alembic")
    subprocess.run([program, "init", "alembic"], cwd=shop.root, check=True, capture_output=True)
    (shop.root / "alembic" / "env.py").write_text(ENVIRONMENT)
    (shop.root / "alembic" / "versions" / "a1_notes.py").write_text(REVISION)
    proposal = apply(shop, database.change_from(shop, command=f"{program} upgrade head"))
    assert {"CREATE TABLE", "INSERT"} == {statement.kind for statement in proposal.opened().statements}
    with psycopg.connect(database.url(shop)) as connection:
        assert connection.execute("SELECT text FROM notes").fetchall() == [("hello",)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("a1",)]


def test_statements_that_failed_or_were_rolled_back_are_left_out() -> None:
    def line(message: str, session: str = "1", **more: str) -> bytes:
        import json

        return json.dumps({"user": "me", "session_id": session, "message": message, **more}).encode()

    log = b"\n".join(
        [
            line("statement: BEGIN; CREATE TABLE a (); COMMIT"),
            line("statement: CREATE TABLE b (); CREATE TABLE c ()"),
            line("relation exists", error_severity="ERROR"),
            line("statement: begin", "2"),
            line("execute <unnamed>: DELETE FROM a WHERE x = $1", "2", detail="Parameters: $1 = 'it''s'"),
            line("statement: CREATE TABLE d ()"),
            line("statement: commit", "2"),
            line("statement: CREATE TABLE other ()", user="somebody else"),
        ]
    )
    assert committed(log, "me") == ["CREATE TABLE a ()", "CREATE TABLE d ()", "DELETE FROM a WHERE x = 'it''s'"]
