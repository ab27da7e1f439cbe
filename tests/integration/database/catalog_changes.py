"""One change of every kind of object: what is there before, what is done, and all that a diff must show.

A line of CHANGES is `before | done | expected`: `before` names pieces of BEFORE, several expected changes are joined by
` + `, and facets that changed are in parentheses.  A line that ends with a backslash goes on in the next one; `>18` in
front asks for that version.
"""

from __future__ import annotations

BEFORE = {
    "t": "CREATE TABLE t (id int PRIMARY KEY, a text, b int NOT NULL)",
    "u": "CREATE TABLE u (x int)",
    "inherits": "CREATE TABLE n () INHERITS (t)",
    "fk": "CREATE TABLE k (id int, t int CONSTRAINT fk REFERENCES t)",
    "always": "CREATE TABLE w (a int GENERATED ALWAYS AS IDENTITY, c int GENERATED ALWAYS AS (1) STORED)",
    "p": "CREATE TABLE p (k int, v text) PARTITION BY RANGE (k)",
    "p1": "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (9)",
    "role": "CREATE ROLE zz",
    "schema": "CREATE SCHEMA s",
    "q": "CREATE SEQUENCE q",
    "i": "CREATE INDEX i ON t ((a || 'x'))",
    "unchecked": "ALTER TABLE t ADD CONSTRAINT c CHECK (b > 0) NOT VALID",
    "v": "CREATE VIEW v AS SELECT a FROM t",
    "m": "CREATE MATERIALIZED VIEW m AS SELECT a FROM t",
    "f": "CREATE FUNCTION f(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ag": "CREATE AGGREGATE ag (int) (SFUNC = int4pl, STYPE = int)",
    "tf": "CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "g": "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tf()",
    "pg": "CREATE TRIGGER g BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION tf()",
    "ef": "CREATE FUNCTION ef() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "e": "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION ef()",
    "enum": "CREATE TYPE mood AS ENUM ('sad', 'glad')",
    "domain": "CREATE DOMAIN d AS int",
    "composite": "CREATE TYPE c AS (a int, b text)",
    "policy": "CREATE POLICY y ON t FOR SELECT USING (b > 1)",
    "rule": "CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x",
    "grant": "GRANT SELECT ON t TO zz",
    "default": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO zz",
    "publication": "CREATE PUBLICATION pub FOR TABLE t",
    "wrapper": "CREATE FOREIGN DATA WRAPPER w",
    "server": "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'a')",
    "collation": "CREATE COLLATION co (locale = 'C')",
    "statistics": "CREATE STATISTICS st ON a, b FROM t",
    "member": "CREATE ROLE yy; GRANT SELECT ON t TO yy",
    "search": "CREATE TEXT SEARCH CONFIGURATION ts (COPY = simple)",
}

CHANGES = r"""
| CREATE SCHEMA s | added schema s
schema | DROP SCHEMA s | removed schema s
schema role | ALTER SCHEMA s OWNER TO zz | changed schema s (owner) + added role zz
schema | COMMENT ON SCHEMA s IS 'x' | changed schema s (comment)
| CREATE TABLE t (id int PRIMARY KEY, a text) | added table public.t with 2 column, 1 constraint
t i role grant | DROP TABLE t | removed table public.t with 3 column, 1 constraint, 1 grant, 1 index + removed role zz
t | ALTER TABLE t SET UNLOGGED | changed table public.t (persistence)
t | ALTER TABLE t SET (fillfactor = 70) | changed table public.t (options)
t | ALTER TABLE t SET (toast.autovacuum_enabled = off) | changed table public.t (toast_options)
t | ALTER TABLE t ENABLE ROW LEVEL SECURITY | changed table public.t (row_security)
t | ALTER TABLE t FORCE ROW LEVEL SECURITY | changed table public.t (row_security_forced)
t | ALTER TABLE t REPLICA IDENTITY FULL | changed table public.t (replica_identity)
t | ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey | changed table public.t (replica_identity)
t | COMMENT ON TABLE t IS 'x' | changed table public.t (comment)
t role | ALTER TABLE t OWNER TO zz | changed table public.t (owner) + added role zz
t | REVOKE INSERT ON t FROM CURRENT_USER | changed table public.t (owner_privileges)
p | CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (2) | added table public.p1
p | DROP TABLE p; CREATE TABLE p (k int, v text) PARTITION BY HASH (k) | changed table public.p (partition_key)
p p1 | ALTER TABLE p DETACH PARTITION p1; ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (2) TO (9) |\
 changed table public.p1 (partition_bound)
p p1 | ALTER TABLE p ADD COLUMN n int | added column public.p.n
p p1 | CREATE INDEX i ON p (v) | added index public.i
p p1 | ALTER TABLE p ADD CONSTRAINT c CHECK (k > 0) | added constraint public.p.c
p p1 | ALTER TABLE p ADD PRIMARY KEY (k) | added constraint public.p.p_pkey + changed column public.p.k (not_null)
p p1 | ALTER TABLE p1 ALTER v SET DEFAULT 'x' | added column public.p1.v
p p1 tf | CREATE TRIGGER g AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION tf() | added trigger public.p.g
p p1 tf pg | ALTER TABLE p1 DISABLE TRIGGER g | added trigger public.p1.g
t inherits | ALTER TABLE t ADD c int | added column public.t.c
t inherits | ALTER TABLE n ALTER b SET DEFAULT 4 | added column public.n.b
t | ALTER TABLE t ADD c int | added column public.t.c
t | ALTER TABLE t ADD c int DEFAULT 3 NOT NULL | added column public.t.c
t | ALTER TABLE t ADD c serial | added column public.t.c with 1 sequence
t | ALTER TABLE t DROP a | removed column public.t.a
t | ALTER TABLE t ALTER b TYPE bigint | changed column public.t.b (type)
t | ALTER TABLE t ALTER a TYPE varchar(9) | changed column public.t.a (type)
t | ALTER TABLE t ALTER a SET NOT NULL | changed column public.t.a (not_null)
t | ALTER TABLE t ALTER b DROP NOT NULL | changed column public.t.b (not_null)
>18 t | ALTER TABLE t ADD CONSTRAINT nn NOT NULL a NOT VALID | changed column public.t.a (not_null not_null_unvalidated)
t | ALTER TABLE t ALTER a SET DEFAULT 'x' | changed column public.t.a (default)
t | ALTER TABLE t ALTER b ADD GENERATED ALWAYS AS IDENTITY |\
 changed column public.t.b (identity_column identity_sequence)
always | ALTER TABLE w ALTER a SET GENERATED BY DEFAULT | changed column public.w.a (identity_column)
always | ALTER TABLE w ALTER a SET INCREMENT 5 | changed column public.w.a (identity_sequence)
always | ALTER TABLE w ALTER c DROP EXPRESSION | changed column public.w.c (generated)
>18 always | ALTER TABLE w DROP c; ALTER TABLE w ADD c int GENERATED ALWAYS AS (1) VIRTUAL |\
 changed column public.w.c (generated)
t | ALTER TABLE t ALTER a TYPE text COLLATE "C" | changed column public.t.a (collation)
t | ALTER TABLE t ALTER a SET STORAGE EXTERNAL | changed column public.t.a (storage)
t | ALTER TABLE t ALTER a SET COMPRESSION pglz | changed column public.t.a (compression)
t | ALTER TABLE t ALTER a SET STATISTICS 77 | changed column public.t.a (statistics)
t | ALTER TABLE t ALTER a SET (n_distinct = 5) | changed column public.t.a (options)
t | COMMENT ON COLUMN t.a IS 'x' | changed column public.t.a (comment)
t | DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, b int NOT NULL, a text) |\
 changed column public.t.a (position) + changed column public.t.b (position)
| CREATE SEQUENCE q | added sequence public.q
q | DROP SEQUENCE q | removed sequence public.q
q | ALTER SEQUENCE q INCREMENT 5 | changed sequence public.q (increment)
q | ALTER SEQUENCE q AS smallint | changed sequence public.q (maximum type)
q | ALTER SEQUENCE q CACHE 5 CYCLE | changed sequence public.q (cache cycle)
t q | ALTER SEQUENCE q OWNED BY t.b | changed sequence public.q (owner parent)
t | CREATE INDEX i ON t (a) | added index public.i
t i | DROP INDEX i | removed index public.i
t i | DROP INDEX i; CREATE INDEX i ON t (a DESC) | changed index public.i (definition)
t i | DROP INDEX i; CREATE UNIQUE INDEX i ON t ((a || 'x')) | changed index public.i (unique)
t i | ALTER INDEX i SET (fillfactor = 50) | changed index public.i (definition)
t i | ALTER INDEX i ALTER COLUMN 1 SET STATISTICS 9 | changed index public.i (statistics)
t i | CLUSTER t USING i | changed index public.i (clustered)
t i | UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass | changed index public.i (valid)
t i | COMMENT ON INDEX i IS 'x' | changed index public.i (comment)
t | ALTER TABLE t ADD CONSTRAINT c CHECK (b > 0) | added constraint public.t.c
t | ALTER TABLE t ADD CONSTRAINT c UNIQUE (a) | added constraint public.t.c
t | ALTER TABLE t ADD CONSTRAINT c EXCLUDE (b WITH =) | added constraint public.t.c
t | ALTER TABLE t DROP CONSTRAINT t_pkey | removed constraint public.t.t_pkey
t | CLUSTER t USING t_pkey | changed constraint public.t.t_pkey (clustered)
t unchecked | ALTER TABLE t VALIDATE CONSTRAINT c | changed constraint public.t.c (definition validated)
t fk | ALTER TABLE k ALTER CONSTRAINT fk DEFERRABLE | changed constraint public.k.fk (deferrable definition)
t fk | ALTER TABLE k DISABLE TRIGGER ALL | changed constraint public.k.fk (triggers)
t fk | COMMENT ON CONSTRAINT fk ON k IS 'x' | changed constraint public.k.fk (comment)
t | CREATE VIEW v AS SELECT a FROM t | added view public.v
t v | DROP VIEW v | removed view public.v
t v | CREATE OR REPLACE VIEW v AS SELECT a FROM t WHERE b > 1 | changed view public.v (view_definition)
t v | ALTER VIEW v SET (security_barrier) | changed view public.v (options)
t v | ALTER VIEW v ALTER a SET DEFAULT 'x' | added column public.v.a
t | CREATE MATERIALIZED VIEW m AS SELECT a FROM t | added materialized view public.m
t m | REFRESH MATERIALIZED VIEW m WITH NO DATA | changed materialized view public.m (populated)
t m | CREATE INDEX i ON m (a) | added index public.i
| CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1' | added function public.f() with 1 grant
f | DROP FUNCTION f | removed function public.f(integer,text) with 1 grant
f | CREATE OR REPLACE FUNCTION f(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 2' |\
 changed function public.f(integer,text) (definition)
f | ALTER FUNCTION f SECURITY DEFINER | changed function public.f(integer,text) (definition)
f | ALTER FUNCTION f SET search_path = public | changed function public.f(integer,text) (definition)
f | COMMENT ON FUNCTION f IS 'x' | changed function public.f(integer,text) (comment)
| CREATE PROCEDURE pr() LANGUAGE sql AS '' | added procedure public.pr() with 1 grant
| CREATE AGGREGATE ag (int) (SFUNC = int4pl, STYPE = int) | added aggregate public.ag(integer) with 1 grant
ag | CREATE OR REPLACE AGGREGATE ag (int) (SFUNC = int4pl, STYPE = int, INITCOND = '1') |\
 changed aggregate public.ag(integer) (initial)
t tf | CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION tf() | added trigger public.t.g
t tf g | DROP TRIGGER g ON t | removed trigger public.t.g
t tf g | ALTER TABLE t DISABLE TRIGGER g | changed trigger public.t.g (enabled)
t tf g | ALTER TABLE t DISABLE TRIGGER ALL | changed trigger public.t.g (enabled)
t tf g | ALTER TABLE t ENABLE ALWAYS TRIGGER g | changed trigger public.t.g (enabled)
t tf g | CREATE OR REPLACE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION tf() |\
 changed trigger public.t.g (definition)
ef | CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION ef() | added event trigger e
ef e | ALTER EVENT TRIGGER e DISABLE | changed event trigger e (enabled)
| CREATE TYPE mood AS ENUM ('sad') | added type public.mood with 1 grant
enum | ALTER TYPE mood ADD VALUE 'so' BEFORE 'glad' | changed type public.mood (labels)
enum | ALTER TYPE mood RENAME VALUE 'sad' TO 'bad' | changed type public.mood (labels)
| CREATE DOMAIN d AS int CHECK (VALUE > 0) | added type public.d with 1 constraint, 1 grant
domain | ALTER DOMAIN d SET DEFAULT 7 | changed type public.d (default)
domain | ALTER DOMAIN d SET NOT NULL | changed type public.d (not_null)
domain | ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0) | added constraint public.d.c
composite | ALTER TYPE c ADD ATTRIBUTE d int | changed type public.c (attributes)
| CREATE TYPE r AS RANGE (subtype = float8) | added type public.r with 1 grant
t | CREATE POLICY y ON t USING (true) | added policy public.t.y
t policy | ALTER POLICY y ON t USING (b > 2) | changed policy public.t.y (using)
t policy role | ALTER POLICY y ON t TO zz | changed policy public.t.y (roles) + added role zz
t policy | DROP POLICY y ON t | removed policy public.t.y
t | CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x | added rule public.t.r
t rule | ALTER TABLE t DISABLE RULE r | changed rule public.t.r (enabled)
t | GRANT SELECT ON t TO PUBLIC | added grant table public.t to PUBLIC
t role | GRANT SELECT ON t TO zz | added grant table public.t to zz + added role zz
t role grant | REVOKE SELECT ON t FROM zz | removed grant table public.t to zz + removed role zz
t role grant | GRANT UPDATE ON t TO zz | changed grant table public.t to zz (privileges)
t role grant | GRANT SELECT ON t TO zz WITH GRANT OPTION | changed grant table public.t to zz (privileges)
t | GRANT UPDATE (a) ON t TO PUBLIC | added grant column public.t.a to PUBLIC
f | REVOKE EXECUTE ON FUNCTION f FROM PUBLIC | removed grant function public.f(integer,text) to PUBLIC
schema | GRANT CREATE ON SCHEMA s TO PUBLIC | added grant schema s to PUBLIC
enum | REVOKE USAGE ON TYPE mood FROM PUBLIC | removed grant type public.mood to PUBLIC
q | GRANT USAGE ON SEQUENCE q TO PUBLIC | added grant sequence public.q to PUBLIC
t tf | GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC |\
 added grant function pg_read_file(text) to PUBLIC
role | ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC | added default privileges tables by seatrial
role default | ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO zz |\
 changed default privileges tables by seatrial (privileges)
| CREATE PUBLICATION pub FOR ALL TABLES | added publication pub
t publication | ALTER PUBLICATION pub SET (publish = 'insert') | changed publication pub (operations)
t u publication | ALTER PUBLICATION pub ADD TABLE u | added publication member pub: public.u
t publication | ALTER PUBLICATION pub SET TABLE t (id, b) | changed publication member pub: public.t (columns)
t publication | ALTER PUBLICATION pub ADD TABLES IN SCHEMA public | added publication member pub: schema public
| CREATE SUBSCRIPTION su CONNECTION '' PUBLICATION pub WITH (connect = false) | added subscription su
| CREATE FOREIGN DATA WRAPPER w | added foreign data wrapper w
wrapper server | ALTER SERVER s OPTIONS (SET host 'b') | changed foreign server s (options)
wrapper server | CREATE USER MAPPING FOR PUBLIC SERVER s | added user mapping s for public
wrapper server | CREATE FOREIGN TABLE ft (a int) SERVER s | added foreign table public.ft with 1 column
| CREATE COLLATION co (locale = 'C') | added collation public.co
collation | DROP COLLATION co; CREATE COLLATION co (locale = 'C.UTF-8') | changed collation public.co (collate ctype)
t | CREATE STATISTICS st ON a, b FROM t | added statistics public.st
t statistics | ALTER STATISTICS st SET STATISTICS 7 | changed statistics public.st (target)
| CREATE TEXT SEARCH CONFIGURATION ts (COPY = simple) | added text search configuration public.ts
search | ALTER TEXT SEARCH CONFIGURATION ts DROP MAPPING FOR word | changed text search configuration public.ts (about)
enum | CREATE CAST (mood AS json) WITH INOUT | added cast public.mood as json
| CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq) | added operator public.===(integer,integer)
| ALTER DATABASE {database} SET work_mem = '5MB' | added setting work_mem of the database
t member | ALTER ROLE yy SET work_mem = '5MB' | added setting work_mem of role yy
t member | ALTER ROLE yy CREATEDB | changed role yy (create_database)
t member role | GRANT yy TO zz | added membership zz in yy + added role zz
| ALTER DATABASE {database} CONNECTION LIMIT 7 | changed database current (connection_limit)
| REVOKE CONNECT ON DATABASE {database} FROM PUBLIC | changed grant database current to PUBLIC (privileges)
| COMMENT ON DATABASE {database} IS 'x' | changed database current (comment)
t | INSERT INTO t VALUES (1, 'x', 2) |
t | CREATE TEMPORARY TABLE pg_class (oid int) |
t i | REINDEX INDEX i |
q | SELECT nextval('q') |
t role | GRANT SELECT ON t TO zz; REVOKE SELECT ON t FROM zz |
t | CREATE SCHEMA seatrial; CREATE TABLE seatrial.ledger (a int); GRANT SELECT ON seatrial.ledger TO PUBLIC |
"""


def changes() -> list[tuple[int, str, str, list[str]]]:
    """Return (version, before, done, expected) of every line."""
    found = []
    for line in CHANGES.replace("\\\n", "").strip().splitlines():
        before, done, expected = (part.strip() for part in (" " + line + " ").split(" | "))
        first, _, rest = before.partition(" ")
        since = int(first[1:]) if first.startswith(">") else 0
        pieces = (rest if since else before).split()
        found.append((since, ";".join(BEFORE[name] for name in pieces), done, [e for e in expected.split(" + ") if e]))
    return found
