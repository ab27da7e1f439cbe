"""Masked golden copies: no planted value is found anywhere, keys hold, what is not covered is not copied (9, 10)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from seatrial import database
from seatrial.database import branches, production, snapshots
from seatrial.database.gate import target
from seatrial.database.postgres import connect
from seatrial.database.project import Project
from seatrial.database.records import Snapshot
from seatrial.database.sources import address, dump
from seatrial.errors import BranchError, MaskingError, SeatrialError, SourceError

from .conftest import INSTALLATIONS, Home

# One word for each place where a value can hide; none occurs in Seatrial or Postgres.
PLANTED = {
    "e-mail": "zephyrine.quux@planted-mail.test",
    "telephone": "0176-55501234",
    "name": "Xanthippe Planted",
    "JSON value": "json-planted-value",
    "JSON key": "json-planted-key",
    "array": "array-planted-value",
    "bytes": "bytes-planted-value",
    "comment": "comment-planted-value",
    "large object": "large-object-planted",
    "common value": "common-planted-value",
    "query": "query-planted-value",
    "left-out row": "audit-planted-value",
    "long text": "toasted-planted-value",
}
SHOP = f"""
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE TABLE users (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email varchar(80) NOT NULL UNIQUE, name text NOT NULL,
  phone text, mood mood, profile jsonb, tags text[], raw bytea, born date, balance numeric(10, 2) CHECK (balance >= 0),
  city text, note text, shout text GENERATED ALWAYS AS (upper(email)) STORED);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email varchar(80) REFERENCES users (email),
                     placed timestamptz NOT NULL);
CREATE TABLE audit (id serial PRIMARY KEY, line text);
CREATE TABLE visits (day date NOT NULL, email text) PARTITION BY RANGE (day);
CREATE TABLE visits_2024 PARTITION OF visits FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE MATERIALIZED VIEW per_city AS SELECT city, count(*) FROM users GROUP BY city;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'fired'; RETURN NEW; END $$;
INSERT INTO users (email, name, phone, mood, profile, tags, raw, born, balance, city, note)
SELECT 'user' || i || '@shop.test', 'User ' || i, '+49 30 ' || 1000000 + i, 'happy', '{{"plan": "free"}}', '{{a,b}}',
       '\\x00ff', date '1980-01-01' + i, i, '{PLANTED["common value"]}', 'note ' || i FROM generate_series(1, 2000) i;
UPDATE users SET email = '{PLANTED["e-mail"]}', name = '{PLANTED["name"]}', phone = '{PLANTED["telephone"]}',
  profile = '{{"email": "{PLANTED["JSON value"]}", "{PLANTED["JSON key"]}": 1}}',
  tags = '{{"{PLANTED["array"]}"}}', raw = '{PLANTED["bytes"]}',
  note = (SELECT string_agg('{PLANTED["long text"]} ' || md5(i::text), ' ') FROM generate_series(1, 300) i)
WHERE id = 1;
CREATE TRIGGER stamp BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp();
INSERT INTO orders (email, placed) SELECT email, '2024-02-03 04:05:06+00' FROM users;
INSERT INTO audit (line) VALUES ('{PLANTED["left-out row"]}');
INSERT INTO visits SELECT '2024-05-05', email FROM users WHERE id < 100;
COMMENT ON TABLE users IS 'ask {PLANTED["comment"]}';
COMMENT ON COLUMN users.email IS '{PLANTED["comment"]}';
"""
POLICY = """
version = 1
[tables."public.users"]
id = "keep"
email = "email"
name = "name"
phone = "phone"
mood = "keep"
profile = { with = "json", paths = { "$.email" = "email", "$.plan" = "keep" }, rest = "null" }
tags = "text"
raw = "bytes"
born = { with = "date", days = 30 }
balance = { with = "number", percent = 10 }
city = "text"
note = "text"
[tables."public.orders"]
id = "keep"
email = "email"
placed = "date"
[tables."public.audit"]
rows = "none"
[tables."public.visits"]
day = "keep"
email = "email"
"""


@pytest.fixture(scope="module", params=INSTALLATIONS or [None], ids=lambda i: f"pg{i.major}" if i else "none")
def home(request: pytest.FixtureRequest, database_folder: Path) -> Iterator[Home]:
    """A project with planted values in production, and a policy."""
    if request.param is None:
        pytest.skip("no Postgres server programs are installed")
    folder = Path(tempfile.mkdtemp(prefix="masking-", dir=database_folder))
    folder.chmod(0o711)
    made = Home(folder / "state", folder / "clusters", folder / "shop", str(request.param.major))
    made.root.mkdir()
    (made.root / "shop.sql").write_text(SHOP)
    (made.root / "masking.toml").write_text(POLICY)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment().items():
            patch.setenv(name, value)
        patch.setenv("SEATRIAL_DB_MASKING", "masking.toml")
        project = database.init(made.root, name="shop", load=made.root / "shop.sql")
        with production.cluster_of(project).connect("shop") as connection:
            connection.execute("SELECT lo_from_bytea(0, %s)", [PLANTED["large object"].encode()])
            connection.execute(f"SELECT '{PLANTED['query']}'")
            connection.execute("ANALYZE")
            connection.execute("CHECKPOINT")
        project.records.close()
        try:
            yield made
        finally:
            project = database.find_project(made.root)
            database.down(project)
            project.records.close()


@pytest.fixture
def shop(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The project with its policy; branches and golden copies that a test leaves are removed."""
    for name, value in home.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SEATRIAL_DB_MASKING", "masking.toml")
    (home.root / "masking.toml").write_text(POLICY)
    project = database.find_project(home.root)
    yield project
    for branch in reversed(database.all_branches(project)):
        database.delete_branch(project, branch.name)
    project.records.close()


def with_policy(project: Project, old: str, new: str) -> None:
    assert old in POLICY
    (project.root / "masking.toml").write_text(POLICY.replace(old, new))


def change(project: Project, statement: str) -> None:
    with production.cluster_of(project).connect("shop") as connection:
        connection.execute("SET search_path = public")
        connection.execute(statement.encode())


def found_in(folder: Path) -> set[str]:
    """Return which planted values are in any file below a folder."""
    found = set()
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            found |= {place for place, value in PLANTED.items() if value.encode() in content}
            found |= {place for place, value in PLANTED.items() if value.encode().hex().encode() in content}
    return found


def test_the_search_finds_what_is_there(shop: Project) -> None:
    # A long text is compressed, and a query is nowhere unless a server logs it.
    assert found_in(shop.production) >= set(PLANTED) - {"query", "long text"}


def test_no_planted_value_is_in_any_copy(shop: Project) -> None:
    branch = database.create_branch(shop, database.Wish("masked"))
    snapshot = shop.records.get(Snapshot, branch.snapshot)
    assert snapshot is not None
    assert branch.masked == snapshot.masked != ""
    with branches.cluster_of(shop, branch).connect("shop") as connection:
        values = connection.execute("SELECT string_agg(s::text, ' ') FROM pg_catalog.pg_stats s").fetchone()
        connection.execute("CHECKPOINT")
    assert values is not None
    assert "public" in values[0]
    assert not [place for place, value in PLANTED.items() if value in values[0]]
    assert found_in(shop.snapshots / snapshot.id) == set()
    assert found_in(shop.branches / branch.id) == set()
    assert found_in(shop.folder) == set()
    dumped = dump.run_program(shop.installation, "pg_dump", [], branches.dsn(shop, branch), "The branch is not dumped")
    assert b"COPY public.users" in dumped
    assert not [place for place, value in PLANTED.items() if value.encode() in dumped]
    # The salt, by which a guess could be tried out, stays with the project.
    salt = shop.secret("masking salt").encode()
    assert not any(salt in f.read_bytes() for f in (shop.branches / branch.id).rglob("*") if f.is_file())


def test_a_masked_copy_is_a_shop_like_the_real_one(shop: Project) -> None:
    branch = database.create_branch(shop, database.Wish("alike"))
    with connect(branches.dsn(shop, branch)) as connection:

        def value(query: str) -> Any:
            return connection.execute(query.encode()).fetchall()[0][0]

        assert value("SELECT count(*) FROM users") == 2000
        assert value("SELECT count(*) FROM users JOIN orders USING (email)") == 2000
        assert value("SELECT count(*) FROM visits JOIN users USING (email)") == 99
        assert value("SELECT count(*) FROM audit") == 0
        assert value("SELECT count(DISTINCT email) FROM users") == 2000
        assert value("SELECT count(*) FROM users WHERE note = 'fired'") == 0
        assert value("SELECT count(*) FROM users WHERE shout = upper(email)") == 2000
        assert value("SELECT count(*) FROM users WHERE balance BETWEEN id * 0.9 AND id * 1.1") == 2000
        assert value("SELECT count(*) FROM users WHERE abs(born - (date '1980-01-01' + id::int)) < 30") == 2000
        assert value("SELECT count(DISTINCT city) FROM users") == 1
        assert value("SELECT sum(count) FROM per_city") == 2000
        assert value("SELECT profile ->> 'plan' FROM users WHERE id = 2") == "free"
        assert value("SELECT profile FROM users WHERE id = 1").keys() == {"email"}
        assert value("SELECT mood FROM users WHERE id = 2") == "happy"
        # Sequences stand where they stood.
        assert value("INSERT INTO orders (email, placed) VALUES (NULL, now()) RETURNING id") == 2001


def test_the_same_value_has_the_same_mask_every_time(shop: Project) -> None:
    seen = []
    for name in ("first", "second"):
        database.refresh(shop)
        branch = database.create_branch(shop, database.Wish(name))
        with connect(branches.dsn(shop, branch)) as connection:
            seen.append(connection.execute("SELECT email, name, phone, born FROM users ORDER BY id").fetchall())
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("statement", "undo", "told"),
    [
        ("ALTER TABLE users ADD nickname text", "ALTER TABLE users DROP nickname", r"public\.users\.nickname is not"),
        ("CREATE TABLE leads (email text)", "DROP TABLE leads", r"public\.leads is not in the policy"),
        ("ALTER TABLE visits ADD ip inet", "ALTER TABLE visits DROP ip", r"public\.visits\.ip is not in the policy"),
        ("ALTER TABLE orders RENAME placed TO at", "ALTER TABLE orders RENAME at TO placed", r"orders\.placed is in"),
    ],
)
def test_what_came_yesterday_is_not_copied(shop: Project, statement: str, undo: str, told: str) -> None:
    before = {snapshot.id for snapshot in shop.records.all(Snapshot)}
    change(shop, statement)
    try:
        with pytest.raises(MaskingError, match=told):
            database.refresh(shop)
        assert database.check_policy(shop)
    finally:
        change(shop, undo)
    assert {snapshot.id for snapshot in shop.records.all(Snapshot)} == before
    assert {folder.name for folder in shop.snapshots.iterdir() if folder.name[0] != "."} == before


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('born = { with = "date", days = 30 }', 'born = "email"', r"users\.born: `email` cannot take date"),
        ('name = "name"', 'name = "null"', r"users\.name: it is NOT NULL"),
        ('[tables."public.audit"]\nrows = "none"', "", r"public\.audit is not in the policy"),
        ('id = "keep"\nemail = "email"\nname', 'id = "keep"\nemail = "text"\nname', r"does not keep values unique"),
        ('id = "keep"\nemail = "email"\nplaced', 'id = "keep"\nemail = "keep"\nplaced', r"must be masked alike"),
        ('[tables."public.visits"]', '[tables."public.gone"]\nrows = "none"\n[tables."public.visits"]', r"gone is in"),
        ("version = 1", "version = 2", r"it must say version = 1"),
        ('mood = "keep"', 'mood = "text"', r"`text` cannot take public\.mood"),
        ('mood = "keep"', 'mood = "magic"', r"there is no transformer `magic`"),
        ('day = "keep"', 'day = "date"', r"rows would leave their partition"),
    ],
)
def test_a_policy_that_does_not_fit_makes_no_branch(shop: Project, old: str, new: str, told: str) -> None:
    with_policy(shop, old, new)
    with pytest.raises(MaskingError, match=told):
        database.create_branch(shop, database.Wish("never"))
    assert database.all_branches(shop) == []


def test_a_constraint_that_masked_values_violate_is_named(shop: Project) -> None:
    change(shop, "ALTER TABLE users ADD CONSTRAINT only_shop CHECK (email LIKE '%.test')")
    before = {snapshot.id for snapshot in shop.records.all(Snapshot)}
    try:
        with pytest.raises(SourceError, match="only_shop") as caught:
            database.refresh(shop)
    finally:
        change(shop, "ALTER TABLE users DROP CONSTRAINT only_shop")
    assert not any(value in str(caught.value) for value in PLANTED.values())
    assert {folder.name for folder in shop.snapshots.iterdir() if folder.name[0] != "."} == before


def test_copies_of_another_policy_are_not_used(shop: Project) -> None:
    branch = database.create_branch(shop, database.Wish("old"))
    with_policy(shop, 'city = "text"', 'city = "null"')
    with pytest.raises(MaskingError, match="masked by another policy"):
        database.reset_branch(shop, "old")
    with pytest.raises(MaskingError, match="masked by another policy"):
        database.create_branch(shop, database.Wish("at", at=branch.snapshot))
    with pytest.raises(MaskingError, match="masked by another policy"):
        database.create_branch(shop, database.Wish("child", parent="old"))
    fresh = database.create_branch(shop, database.Wish("fresh"))
    assert fresh.snapshot != branch.snapshot
    (shop.root / "masking.toml").unlink()
    with pytest.raises(MaskingError, match="cannot be read"):
        database.create_branch(shop, database.Wish("none"))


def test_copies_that_were_not_masked_are_not_used(shop: Project) -> None:
    open_ = replace(shop, settings=replace(shop.settings, masking=""))
    plain = database.refresh(open_)
    try:
        with pytest.raises(MaskingError, match="was not masked"):
            database.create_branch(shop, database.Wish("open", at=plain.id))
        assert database.create_branch(shop, database.Wish("closed")).masked
    finally:
        snapshots.delete(shop, plain)


def test_a_branch_without_rows(shop: Project) -> None:
    branch = database.create_branch(shop, database.Wish("empty", schema_only=True))
    assert branch.schema_only
    with connect(branches.dsn(shop, branch)) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
        assert connection.execute("SELECT last_value FROM orders_id_seq").fetchone() == (2000,)
    with pytest.raises(BranchError, match="without rows"):
        database.create_branch(shop, database.Wish("wrong", parent="empty", schema_only=True))
    full = database.create_branch(shop, database.Wish("full"))
    assert full.snapshot != branch.snapshot


def test_a_change_is_measured_on_masked_rows(shop: Project) -> None:
    plan, report = database.measure_change(shop, database.Change("ALTER TABLE users ADD points int DEFAULT 0"))
    assert report.failure is None
    assert plan.base == target.schema(shop).fingerprint
    assert plan.base != plan.result


@pytest.mark.parametrize(
    "step", ["refresh.read", "refresh.schema", "refresh.rows", "refresh.masked", "refresh.finished"]
)
def test_a_killed_refresh_leaves_nothing(shop: Project, step: str) -> None:
    before = {snapshot.id for snapshot in shop.records.all(Snapshot)}
    command = [str(Path(sys.executable).with_name("seatrial")), "db", "refresh"]
    killed = subprocess.run(
        command, cwd=shop.root, env={**os.environ, "SEATRIAL_STOP_AT": step}, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    half = [snapshot for snapshot in shop.records.all(Snapshot) if snapshot.id not in before]
    assert [snapshot.state for snapshot in half] == ["creating"]
    with pytest.raises(BranchError, match="no snapshot"):
        database.create_branch(shop, database.Wish("half", at=half[0].id))
    told = database.reconcile(shop)
    assert any("never finished" in sentence for sentence in told)
    assert {folder.name for folder in shop.snapshots.iterdir() if folder.name[0] != "."} == before
    assert snapshots.cluster_of(shop, half[0]).pid() is None
    assert {snapshot.id for snapshot in shop.records.all(Snapshot)} == before


def test_a_proposed_policy_covers_everything(shop: Project) -> None:
    text = database.propose_policy(shop)
    assert 'email = "email"' in text
    assert '[tables."public.visits_2024"]' not in text
    (shop.root / "masking.toml").write_text(text)
    assert database.check_policy(shop) == []
    branch = database.create_branch(shop, database.Wish("proposed"))
    assert found_in(shop.branches / branch.id) == set()


def test_trying_a_policy_shows_masked_values_alone(shop: Project) -> None:
    names, rows = database.try_policy(shop, "users", 3)
    assert "email" in names
    assert "id" not in names
    assert len(rows) == 3
    assert "@example.com" in rows[0][names.index("email")]
    assert not any(value in str(rows) for value in [*PLANTED.values(), "shop.test", "User "])
    with pytest.raises(MaskingError, match="no table nowhere"):
        database.try_policy(shop, "nowhere")
    with pytest.raises(SeatrialError, match="No rows of"):
        database.try_policy(shop, "audit")


def test_a_reader_of_part_of_the_rows_is_refused(shop: Project) -> None:
    """Row security must not hide rows from a copy silently."""
    change(shop, "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; ALTER TABLE orders FORCE ROW LEVEL SECURITY")
    try:
        user, password = "shop_ro", shop.secret("production ro")
        dsn = production.cluster_of(shop).dsn("shop", user, password)
        with (
            address.open_for_reading(dsn) as connection,
            pytest.raises(psycopg.Error, match="row-level security"),
        ):
            connection.execute("SELECT * FROM public.orders")
    finally:
        change(shop, "ALTER TABLE orders DISABLE ROW LEVEL SECURITY; ALTER TABLE orders NO FORCE ROW LEVEL SECURITY")
