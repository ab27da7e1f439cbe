"""The same schema is the same on every version of the server, whatever was done to make it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from seatrial.database.catalog import Change, Schema, diff
from seatrial.database.postgres import Cluster, installations
from seatrial.database.postgres.cluster import create
from seatrial.database.postgres.connection import PINNED
from tests.integration.database.catalog_changes import BEFORE
from tests.integration.database.test_catalog import read_prepared

Connections = dict[int, psycopg.Connection[Any]]


@pytest.fixture(scope="module")
def every_version() -> Iterator[Connections]:
    """A superuser's connection to an empty database on one server of each major version that is installed."""
    found = {entry.major: entry for entry in installations()}
    if len(found) < 2:
        pytest.skip("needs two versions of Postgres")
    clusters, connections = [], {}
    with tempfile.TemporaryDirectory(prefix="seatrial-test-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        try:
            for major, installation in found.items():
                cluster = create(folder / str(major), installation)
                cluster = Cluster(
                    cluster.folder,
                    installation,
                    cluster.password,
                    {"fsync": "off", "plan_cache_mode": "force_generic_plan"},
                )
                cluster.start()
                clusters.append(cluster)
                connections[major] = cluster.connect("postgres", pinned=PINNED)
                connections[major].execute("CREATE ROLE agent; CREATE ROLE auditor NOINHERIT; GRANT auditor TO agent")
            yield connections
        finally:
            for connection in connections.values():
                connection.close()
            for cluster in clusters:
                cluster.stop(immediate=True)


VIEWS = """
SELECT id, a FROM t WHERE b > 1
SELECT x.id, x.a AS "Name" FROM t x WHERE x.b > 1 ORDER BY x.id DESC LIMIT 5
SELECT t.* FROM t
SELECT count(*) AS n, max(b) AS m FROM t GROUP BY a HAVING count(*) > 1
SELECT a, rank() OVER (PARTITION BY a ORDER BY b) AS r FROM t
SELECT t.id FROM t JOIN u ON u.x = t.id
SELECT t.id FROM t, u WHERE u.x = t.id
SELECT t.id, (SELECT u.x FROM u WHERE u.x = t.id) AS s FROM t
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.x = t.b)
SELECT id FROM t WHERE b IN (SELECT x FROM u)
SELECT id FROM t UNION ALL SELECT x FROM u
SELECT id FROM t EXCEPT (SELECT x FROM u ORDER BY x LIMIT 1)
WITH c AS (SELECT id, b FROM t) SELECT id FROM c WHERE b = 1
WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT n FROM c
SELECT s.n FROM (SELECT id AS n FROM t) s
SELECT g FROM generate_series(1, 3) g
SELECT g.o FROM unnest(ARRAY['a', 'b']) WITH ORDINALITY AS g(v, o)
SELECT 't.id' AS text, a || ' FROM t, u' AS other FROM t
SELECT "t.t"."a.b" FROM "t.t" WHERE "t.t"."a.b" > 1
SELECT CASE WHEN b > 1 THEN a ELSE 'x' END AS c, b::numeric(9,2), a COLLATE "C" AS d FROM t
SELECT id FROM ONLY t
SELECT t AS whole FROM t
SELECT extract(year FROM now()) AS y, substring(a FROM 2 FOR 3) AS s, trim(both FROM a) AS r FROM t
SELECT id FROM t TABLESAMPLE bernoulli (5)
SELECT DISTINCT ON (a) a, id FROM t ORDER BY a, id
SELECT a, b, grouping(a) AS g FROM t GROUP BY GROUPING SETS ((a), (b))
SELECT l.v FROM t, LATERAL (SELECT t.b + 1 AS v) l
VALUES (1, 'a'), (2, 'b')
SELECT now() AT TIME ZONE 'UTC' AS n, interval '1 day' AS i, date '2020-01-02' AS d
SELECT (c).a, (c).b FROM composed
SELECT id, sum(b) FILTER (WHERE b > 1) OVER w AS s FROM t WINDOW w AS (ORDER BY id)
"""

MORE = """
CREATE TABLE "t.t" ("a.b" int);
CREATE TABLE composed (c c);
CREATE TABLE every_type (a numeric(9,2) DEFAULT 1.50, b timestamptz DEFAULT '2020-01-01 00:00+02',
    c interval DEFAULT '3 days', d int[] DEFAULT '{1,2}', e jsonb DEFAULT '{"a": 1}', f mood DEFAULT 'sad', h d,
    g bytea DEFAULT '\\x01', i float8 DEFAULT 0.1,
    j text GENERATED ALWAYS AS ('x' || 'y') STORED, k bigserial, l varchar(9) COLLATE "C" NOT NULL UNIQUE, m daterange,
    CHECK (a > 0 AND l <> 'x'), CHECK (l IN ('a', 'b')), EXCLUDE USING gist (m WITH &&));
CREATE INDEX e1 ON every_type (lower(l), a DESC NULLS LAST) INCLUDE (b) WHERE a > 1;
CREATE INDEX e2 ON every_type USING gin (e jsonb_path_ops);
CREATE TABLE p2 PARTITION OF p DEFAULT;
ALTER TABLE p ADD PRIMARY KEY (k);
CREATE TABLE refers (k int REFERENCES p ON DELETE CASCADE, UNIQUE NULLS NOT DISTINCT (k));
CREATE FUNCTION g(a int DEFAULT 3, VARIADIC b text[] DEFAULT '{}') RETURNS SETOF t LANGUAGE sql STABLE STRICT
    PARALLEL SAFE COST 5 SET work_mem = '5MB' AS 'SELECT * FROM t';
CREATE FUNCTION h() RETURNS int BEGIN ATOMIC SELECT count(*)::int FROM t WHERE t.b > 1; END;
CREATE PROCEDURE pr(INOUT a int) LANGUAGE plpgsql AS 'BEGIN a := 1; END';
CREATE RULE r2 AS ON UPDATE TO u WHERE old.x > 1 DO INSTEAD DELETE FROM u WHERE u.x = new.x;
CREATE TYPE ranged AS RANGE (subtype = float8);
GRANT ALL ON t TO agent;
GRANT ALL ON p TO agent WITH GRANT OPTION;
GRANT SELECT (a), UPDATE (b) ON t TO auditor;
GRANT EXECUTE ON FUNCTION g TO agent;
REVOKE ALL ON FUNCTION h FROM PUBLIC;
ALTER TABLE u OWNER TO agent;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO agent;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DATABASE postgres SET search_path = public;
COMMENT ON TABLE t IS 'x';
"""
TOGETHER = [text for name, text in BEFORE.items() if name not in ("v", "server")]


def test_a_large_schema_is_the_same_on_all_versions(every_version: Connections) -> None:
    schemas = {}
    for major, connection in every_version.items():
        with connection.transaction(force_rollback=True):
            connection.execute(";".join([*TOGETHER, MORE]))
            for number, view in enumerate(VIEWS.strip().splitlines()):
                connection.execute(f"CREATE VIEW view{number} AS {view}")
                connection.execute(f"CREATE MATERIALIZED VIEW copy{number} AS {view}")
            schemas[major] = read_prepared(connection)
    first = schemas.pop(max(schemas))
    assert len(first.objects) > 200
    for major, other in schemas.items():
        assert [change.sentence for change in diff(other, first)] == [], major
        assert other.fingerprint == first.fingerprint


BEGINNING = f"""{BEFORE["enum"]}; {BEFORE["tf"]};
CREATE TABLE one (id int PRIMARY KEY, x int NOT NULL, y text, CONSTRAINT z CHECK (x > 0));
CREATE TABLE two (id serial PRIMARY KEY, y text DEFAULT 'x', z mood, CONSTRAINT x UNIQUE (y));
CREATE INDEX x_index ON one (x);
CREATE VIEW view_x AS SELECT y FROM two;
GRANT SELECT ON one TO agent;
"""
TABLES, COLUMNS, TYPES = ("one", "two"), ("x", "y", "z"), ("int", "text", "numeric(9,2)", "mood")
STATEMENTS = """
CREATE TABLE {t} (id int PRIMARY KEY, {c} {type})
CREATE TABLE {t} ({c} {type}) PARTITION BY LIST ({c})
CREATE TABLE {t} (LIKE {u} INCLUDING ALL)
CREATE TABLE {t}_part PARTITION OF {t} DEFAULT
DROP TABLE {t} CASCADE
ALTER TABLE {t} ADD {c} {type}
ALTER TABLE {t} ADD {c} {type} NOT NULL DEFAULT '1'
ALTER TABLE {t} ADD {c} serial
ALTER TABLE {t} DROP {c} CASCADE
ALTER TABLE {t} RENAME {c} TO {d}
ALTER TABLE {t} RENAME TO {u}
ALTER TABLE {t} ALTER {c} TYPE {type} USING NULL
ALTER TABLE {t} ALTER {c} SET NOT NULL
ALTER TABLE {t} ALTER {c} DROP NOT NULL
ALTER TABLE {t} ALTER {c} SET DEFAULT '2'
ALTER TABLE {t} ALTER {c} ADD GENERATED BY DEFAULT AS IDENTITY
ALTER TABLE {t} ADD CONSTRAINT {d} CHECK ({c} IS NOT NULL) NOT VALID
ALTER TABLE {t} ADD CONSTRAINT {d} UNIQUE ({c})
ALTER TABLE {t} ADD CONSTRAINT {d} FOREIGN KEY ({c}) REFERENCES {u}
ALTER TABLE {t} DROP CONSTRAINT {d}
ALTER TABLE {t} INHERIT {u}
ALTER TABLE {t} ENABLE ROW LEVEL SECURITY
ALTER TABLE {t} DISABLE TRIGGER ALL
ALTER TABLE {t} OWNER TO agent
CREATE INDEX {d}_index ON {t} ({c})
DROP INDEX {d}_index
CREATE VIEW view_{d} AS SELECT {c} FROM {t} WHERE {c} IS NOT NULL
CREATE MATERIALIZED VIEW mat_{d} AS SELECT s.{c} FROM {t} s
CREATE POLICY {d} ON {t} TO auditor USING ({c} IS NULL)
CREATE TRIGGER {d} BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION tf()
GRANT ALL ON {t} TO agent
GRANT SELECT ({c}) ON {t} TO auditor
REVOKE ALL ON {t} FROM agent
COMMENT ON COLUMN {t}.{c} IS '{d}'
ALTER TYPE mood ADD VALUE '{d}' BEFORE 'glad'
CREATE FUNCTION {d}({type}) RETURNS int LANGUAGE sql AS 'SELECT 1'
CREATE SEQUENCE {d}_seq INCREMENT 2 OWNED BY {t}.{c}
CREATE STATISTICS {d}_stat ON {c}, {d} FROM {t}
"""


def fill(line: str, t: str, c: str, d: str, type_: str) -> str:
    u = TABLES[1 - TABLES.index(t)]
    return line.format(t=t, u=u, c=c, d=d, type=type_)


statements = st.lists(
    st.builds(
        fill,
        st.sampled_from(STATEMENTS.strip().splitlines()),
        st.sampled_from(TABLES),
        st.sampled_from(COLUMNS),
        st.sampled_from(COLUMNS),
        st.sampled_from(TYPES),
    ),
    min_size=8,
    max_size=24,
)


def run_each(connection: psycopg.Connection[Any], lines: list[str]) -> list[bool]:
    """Run what can be run; say of each whether it could."""
    done = []
    for line in lines:
        try:
            with connection.transaction():
                connection.execute(line)
            done.append(True)
        except psycopg.Error:
            done.append(False)
    return done


def states(connection: psycopg.Connection[Any], lines: list[str]) -> tuple[list[bool], list[Schema]]:
    """Return which statements succeeded, and the schema at the beginning, in the middle and at the end."""
    half = len(lines) // 2
    with connection.transaction(force_rollback=True):
        connection.execute(BEGINNING)
        schemas = [read_prepared(connection)]
        done = run_each(connection, lines[:half])
        schemas.append(read_prepared(connection))
        done += run_each(connection, lines[half:])
        schemas.append(read_prepared(connection))
    return done, schemas


def flat(changes: tuple[Change, ...]) -> set[tuple[str, str, str]]:
    swap = {"added": "removed", "removed": "added"}
    return {(swap.get(c.action, c.action), c.kind, c.identity) for change in changes for c in change.walk()}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
@given(lines=statements)
def test_random_changes_are_the_same_everywhere(every_version: Connections, lines: list[str]) -> None:
    newest, oldest = max(every_version), min(every_version)
    here, there = states(every_version[newest], lines), states(every_version[oldest], lines)
    assert here[0] == there[0]
    for one, other in zip(here[1], there[1], strict=True):
        assert [change.sentence for change in diff(one, other)] == []
        assert one.fingerprint == other.fingerprint
    for one, other in [(0, 1), (1, 2), (0, 2)]:
        before, after = here[1][one], here[1][other]
        forward, backward = diff(before, after), diff(after, before)
        assert (before.fingerprint == after.fingerprint) is (forward == ())
        listed = [(c.kind, c.identity, c.action) for change in forward for c in change.walk()]
        assert len(set(listed)) == len(listed)
        swap = {(c.action, c.kind, c.identity) for change in backward for c in change.walk()}
        assert flat(forward) == swap
