"""The matrix of attacks: what an agent that has the three URLs of one branch may try, and what comes of it.

Every attack returns an outcome: `refused` with the server's SQLSTATE or by whom, `not available`, or `own branch` where
it does what was asked, but to the agent's own copy alone.  Nothing may ever be done to production.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from seatrial import database
from seatrial.database import branches, production, snapshots
from seatrial.database.gate import target
from seatrial.database.postgres.cluster import PORT, SUPERUSER
from seatrial.database.project import Project
from seatrial.errors import RefusedError

OWN = "own branch"
NO_LOGIN, NO_RIGHT = "refused 28P01", "refused 42501"
KINDS = ("owner", "rw", "ro")

PLANTED = """
CREATE TABLE public.ran (who text);
GRANT INSERT ON public.ran TO PUBLIC;
CREATE FUNCTION public.note() RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN
  INSERT INTO public.ran SELECT rolname FROM pg_roles WHERE rolname = current_user AND rolsuper;
  RETURN true;
END $f$;
CREATE VIEW public.looked_at AS SELECT public.note() AS a;
CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $f$
BEGIN PERFORM public.note(); RETURN QUERY SELECT pg_catalog.unnest($1); END $f$;
CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE plpgsql AS $f$
BEGIN PERFORM public.note(); RETURN pg_catalog.quote_ident($1::text); END $f$;
CREATE FUNCTION public.oid_int(oid, integer) RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN PERFORM public.note(); RETURN $1::bigint >= $2; END $f$;
CREATE OPERATOR public.>= (LEFTARG = oid, RIGHTARG = integer, FUNCTION = public.oid_int);
CREATE FUNCTION public.name_name(name, name) RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN PERFORM public.note(); RETURN NOT ($1::text OPERATOR(pg_catalog.~) $2::text); END $f$;
CREATE OPERATOR public.!~ (LEFTARG = name, RIGHTARG = name, FUNCTION = public.name_name);
"""
"""Functions and operators that fit better than the server's own, for whoever has `public` on the search path."""


class Stage:
    """One project with a branch that belongs to the attacker."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.branch = database.create_branch(project, database.Wish("attacker"))
        self.urls = {kind: database.url(project, "attacker", kind) for kind in KINDS}
        self.production = production.cluster_of(project)

    def run(self, kind: str, *statements: str) -> str:
        """Run statements with one of the agent's URLs, in one session, each by itself; the last decides."""
        outcome = ""
        with psycopg.connect(self.urls[kind], autocommit=True) as connection:
            for statement in statements:
                outcome = _outcome(lambda text=statement: connection.execute(text.encode()))
        return outcome

    def undone(self, kind: str, *statements: str) -> str:
        """Do the same in a transaction that is rolled back, so that the branch is whole for the next attack."""
        with psycopg.connect(self.urls[kind]) as connection:
            outcome = _outcome(lambda: [connection.execute(statement.encode()) for statement in statements])
            connection.rollback()
        return outcome

    def on_production(self, *statements: str) -> str:
        """Try every credential of the agent on production: over its socket, and through the one port."""
        outcomes = set()
        for kind in KINDS:
            password = branches.password(self.project, self.branch, kind)
            ways = [
                (self.production.dsn("shop", self.branch.role(kind), password), {}),
                (self.production.dsn("shop", "shop_deployer", password), {}),
                (self.urls[kind], {"user": "shop_rw"}),
            ]
            for url, changes in ways:
                outcomes.add(_connected(url, statements, **changes))
        return " / ".join(sorted(outcomes))

    def elsewhere(self, *databases: str) -> str:
        """Try the other databases of the branch's own server."""
        return " / ".join(sorted({_connected(self.urls["owner"], (), dbname=name) for name in databases}))


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except psycopg.Error as problem:
        if "is not available" in str(problem) or "could not open extension control file" in str(problem):
            return "not available"
        return f"refused {problem.sqlstate}"
    return OWN


def _connected(url: str, statements: Sequence[str], **changes: Any) -> str:
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10, **changes) as connection:
            for statement in statements:
                connection.execute(statement.encode())
    except psycopg.Error as problem:
        told = str(problem)
        if "password authentication failed" in told:
            return NO_LOGIN
        if "no password supplied" in told:
            return "refused (a password is asked for)"
        if "no branch has a user" in told:
            return "refused (not through this port)"
        if "permission denied for database" in told:
            return NO_RIGHT
        return f"refused {problem.sqlstate}"
    return "ALLOWED"


def _no_password(stage: Stage) -> str:
    sockets = [branches.cluster_of(stage.project, stage.branch), stage.production]
    found = {_connected(f"host={snapshot_socket(c)} port={PORT} user={SUPERUSER} dbname=postgres", ()) for c in sockets}
    return " / ".join(sorted(found))


def snapshot_socket(cluster: Any) -> str:
    """Return the folder of a cluster's socket."""
    return str(psycopg.conninfo.conninfo_to_dict(cluster.dsn("postgres"))["host"])


def _stolen_password(stage: Stage) -> str:
    """Even with the deployer's true password the one port does not lead to it."""
    password = stage.project.secret("production deployer")
    return _connected(stage.urls["owner"], (), user="shop_deployer", password=password)


def _names_of_databases(stage: Stage) -> str:
    with psycopg.connect(stage.urls["ro"]) as connection:
        found = {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}
    return OWN if found == {"shop", "postgres", "template0", "template1"} else f"ALLOWED: {sorted(found)}"


def _roles_seen(stage: Stage) -> str:
    with psycopg.connect(stage.urls["ro"]) as connection:
        roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin").fetchall()}
        seen = {name for (name,) in connection.execute("SELECT usename FROM pg_stat_activity").fetchall()}
    own = {SUPERUSER, *map(stage.branch.role, KINDS)}
    inside = OWN if roles <= own and seen <= {*own, None} else f"ALLOWED: {sorted(roles)}"
    outside = stage.on_production("SELECT rolname FROM pg_roles")
    return inside if outside == NO_LOGIN else outside


def _cancel(stage: Stage) -> str:
    with psycopg.connect(stage.urls["rw"]) as other:
        return stage.run("owner", f"SELECT pg_terminate_backend({other.info.backend_pid})")


def _lock_is_given_up(stage: Stage) -> str:
    with psycopg.connect(stage.urls["ro"]) as connection:
        row = connection.execute("SHOW idle_in_transaction_session_timeout").fetchone()
        connection.execute("LOCK TABLE orders IN ACCESS SHARE MODE")
    return f"{OWN}, for {row[0]}" if row else ""


def _unapproved(stage: Stage) -> str:
    change = database.Change("CREATE TABLE unapproved (id int)")
    proposal = database.propose(stage.project, change, author="branch attacker")
    try:
        database.apply(stage.project, proposal.id)
    except RefusedError:
        return "refused (by the gate)"
    return "ALLOWED"


def _approved(stage: Stage) -> str:
    if "rita" not in database.reviewers(stage.project):
        database.add_reviewer(stage.project, "rita")
    change = database.Change("COMMENT ON TABLE users IS 'x'; COMMENT ON TABLE users IS NULL")
    proposal = database.propose(stage.project, change, author="branch attacker")
    database.approve(stage.project, proposal.id, approver="rita", hazards=proposal.opened().hazards)
    done = database.apply(stage.project, proposal.id)
    return "as approved" if done.proposal.state == "applied" else "?"


def _looked_at(stage: Stage) -> str:
    """Everything of ours that looks into a branch, with functions and views planted in it."""
    project = stage.project
    trap = database.create_branch(project, database.Wish("trap"))
    try:
        url = database.url(project, "trap")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(PLANTED.encode())
            connection.execute("INSERT INTO seatrial.inbox (title, sql) VALUES ('t', 'COMMIT')")
        database.collect_inbox(project)
        database.diff_rows(project, "trap")
        with psycopg.connect(branches.dsn(project, trap)) as connection:
            snapshots.schema_of(connection)
        database.create_branch(project, database.Wish("of-trap", parent="trap"))
        found = set()
        for name in ("trap", "of-trap"):
            with psycopg.connect(database.url(project, name)) as connection:
                found |= set(connection.execute("SELECT who FROM ran").fetchall())
        database.delete_branch(project, "of-trap")
        return "refused (no superuser looks)" if not found else f"ALLOWED: {found}"
    finally:
        database.delete_branch(project, "trap")


@dataclass(frozen=True)
class Attack:
    """One row: `expected` on the newest server, and on the oldest where that is another outcome."""

    id: str
    what: str
    attempt: Callable[[Stage], str]
    expected: str
    on_oldest: str = ""

    def outcome(self, is_oldest: bool) -> str:
        """Return what is expected."""
        return (self.on_oldest if is_oldest else "") or self.expected


def _sql(id: str, what: str, kind: str, expected: str, *statements: str, on_oldest: str = "") -> Attack:
    return Attack(id, what, lambda stage: stage.undone(kind, *statements), expected, on_oldest)


def _session(id: str, what: str, kind: str, expected: str, *statements: str, on_oldest: str = "") -> Attack:
    return Attack(id, what, lambda stage: stage.run(kind, *statements), expected, on_oldest)


def _prod(id: str, what: str, *statements: str) -> Attack:
    return Attack(id, what, lambda stage: stage.on_production(*statements), NO_LOGIN)


_WRITABLE = "SET default_transaction_read_only = off"
ATTACKS: tuple[Attack, ...] = (
    _prod("A1", "connect to production"),
    _prod("A2", "temporary table in production", "CREATE TEMP TABLE a (id int)"),
    _prod("A3", "large object in production", "SELECT lo_create(0)"),
    _prod("A4", "table in production's schema public", "CREATE TABLE public.evil (id int)"),
    _prod("A5", "read production's users", "SELECT * FROM users"),
    _prod("A6", "sleep and advisory locks in production", "SELECT pg_advisory_lock(1), pg_sleep(1)"),
    Attack("A7", "list roles and running queries", _roles_seen, OWN),
    _sql("B1", "DROP TABLE as the schema's owner", "owner", OWN, "DROP TABLE orders"),
    _sql(
        "C1",
        "REASSIGN OWNED BY the schema's owner",
        "owner",
        OWN,
        "SET ROLE NONE",
        "REASSIGN OWNED BY shop_owner TO SESSION_USER",
    ),
    _session("C2", "rename the database", "owner", NO_RIGHT, "ALTER DATABASE shop RENAME TO other"),
    _prod("D1", "connect to production, its PUBLIC rights revoked"),
    Attack("D2", "connect to template1 and postgres", lambda s: s.elsewhere("template1", "postgres"), NO_RIGHT),
    _sql("D3", "DDL on the own branch", "owner", OWN, "ALTER TABLE orders ADD COLUMN note text"),
    _sql("D4", "CREATE EXTENSION dblink", "owner", "not available", "CREATE EXTENSION dblink", on_oldest=NO_RIGHT),
    _sql("D5", "… postgres_fdw", "owner", "not available", "CREATE EXTENSION postgres_fdw", on_oldest=NO_RIGHT),
    _sql("D6", "untrusted language plpython3u", "owner", "not available", "CREATE EXTENSION plpython3u"),
    _sql("D7", "trusted extension hstore", "owner", "not available", "CREATE EXTENSION hstore", on_oldest=OWN),
    _sql("D8", "COPY … TO PROGRAM", "owner", NO_RIGHT, "COPY users TO PROGRAM 'true'"),
    _sql("D9", "COPY … FROM a server's file", "owner", NO_RIGHT, "COPY users (email) FROM '/etc/passwd'"),
    _sql("D10", "pg_read_file", "owner", NO_RIGHT, "SELECT pg_read_file('postgresql.conf')"),
    _session("D11", "ALTER SYSTEM", "owner", NO_RIGHT, "ALTER SYSTEM SET archive_mode = on"),
    _sql("D12", "SET ROLE of the schema's owner, as rw", "rw", NO_RIGHT, "SET ROLE shop_owner"),
    _sql("D13", "SET SESSION AUTHORIZATION", "owner", NO_RIGHT, "SET SESSION AUTHORIZATION seatrial"),
    _sql(
        "D14",
        "CREATE SUBSCRIPTION",
        "owner",
        NO_RIGHT,
        "CREATE SUBSCRIPTION s CONNECTION 'host=/x' PUBLICATION p WITH (connect = false)",
    ),
    _sql(
        "D15",
        "CREATE EVENT TRIGGER",
        "owner",
        NO_RIGHT,
        "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION e()",
    ),
    _sql("D16", "CREATE ROLE", "owner", NO_RIGHT, "CREATE ROLE evil"),
    _session("D17", "CREATE DATABASE", "owner", NO_RIGHT, "CREATE DATABASE evil"),
    Attack("D18", "names of other databases", _names_of_databases, OWN),
    Attack("D19", "end other roles' sessions", _cancel, NO_RIGHT),
    _sql(
        "E1", "dblink back without a password", "owner", "not available", "CREATE EXTENSION dblink", on_oldest=NO_RIGHT
    ),
    _sql(
        "E2",
        "dblink over the socket as the superuser",
        "owner",
        "refused 42883",
        "SELECT dblink_connect('host=/run user=seatrial')",
    ),
    Attack("E3", "the deployer's true password, through the port", _stolen_password, "refused (not through this port)"),
    Attack("F1", "superuser over the socket without a password", _no_password, "refused (a password is asked for)"),
    _sql(
        "G1",
        "grant oneself pg_execute_server_program",
        "owner",
        NO_RIGHT,
        "SET ROLE NONE",
        "GRANT pg_execute_server_program TO SESSION_USER",
    ),
    _sql("G2", "… and COPY TO PROGRAM", "owner", NO_RIGHT, "SET ROLE NONE", "COPY (SELECT 1) TO PROGRAM 'true'"),
    _sql("G3", "grant oneself the schema's owner, as rw", "rw", NO_RIGHT, "GRANT shop_owner TO SESSION_USER"),
    _sql("H1", "DELETE as ro", "ro", "refused 25006", "DELETE FROM orders"),
    _sql(
        "H2", "… after SET TRANSACTION READ WRITE", "ro", NO_RIGHT, "SET TRANSACTION READ WRITE", "DELETE FROM orders"
    ),
    _session(
        "H3",
        "… after COMMIT in the same text",
        "ro",
        NO_RIGHT,
        _WRITABLE,
        "BEGIN READ ONLY; COMMIT; DELETE FROM orders",
    ),
    _session("H4", "… with read-only switched off", "ro", NO_RIGHT, _WRITABLE, "DELETE FROM orders"),
    _session("H5", "SELECT … FOR UPDATE as ro", "ro", NO_RIGHT, _WRITABLE, "SELECT * FROM orders FOR UPDATE"),
    Attack("H6", "hold ACCESS SHARE in an open transaction", _lock_is_given_up, f"{OWN}, for 15min"),
    _session("H7", "EXPLAIN ANALYZE DELETE as ro", "ro", NO_RIGHT, _WRITABLE, "EXPLAIN ANALYZE DELETE FROM orders"),
    _sql("I1", "DROP TABLE by the owner", "owner", OWN, "DROP TABLE orders"),
    _sql("I2", "… hidden in DO", "owner", OWN, "DO $$ BEGIN EXECUTE 'DROP TA' || 'BLE orders'; END $$"),
    _sql("I3", "session_replication_role = replica", "owner", NO_RIGHT, "SET session_replication_role = replica"),
    _sql("I4", "disable the triggers of foreign keys", "owner", NO_RIGHT, "ALTER TABLE orders DISABLE TRIGGER ALL"),
    _sql("I5", "TRUNCATE", "owner", OWN, "TRUNCATE users CASCADE"),
    _sql("I6", "DELETE of all rows", "rw", OWN, "DELETE FROM orders"),
    _sql("I7", "CREATE TEMP TABLE", "rw", OWN, "CREATE TEMP TABLE a (id int)"),
    _sql("I8", "ALTER ROLE of another", "owner", NO_RIGHT, "ALTER ROLE seatrial PASSWORD 'x'"),
    _sql(
        "I9",
        "COMMENT ON DATABASE, ALTER DATABASE … SET",
        "owner",
        OWN,
        "COMMENT ON DATABASE shop IS 'x'",
        "ALTER DATABASE shop SET search_path = evil",
    ),
    _sql("I10", "fake a guard's setting", "owner", OWN, "SET guard.plan = 'approved'", "DROP TABLE orders"),
    Attack("I11", "apply what nobody approved", _unapproved, "refused (by the gate)"),
    Attack("I12", "apply what somebody approved", _approved, "as approved"),
    _sql("I13", "superuser's session_replication_role", "rw", NO_RIGHT, "SET session_replication_role = replica"),
    _sql(
        "I14",
        "… of one's role for ever",
        "owner",
        NO_RIGHT,
        "SET ROLE NONE",
        "ALTER ROLE CURRENT_USER SET session_replication_role = replica",
    ),
    _sql("I15", "SET event_triggers = off", "owner", NO_RIGHT, "SET event_triggers = off", on_oldest="refused 42704"),
    Attack("J1", "plant views, functions and operators for those who look", _looked_at, "refused (no superuser looks)"),
)


def state_of_production(project: Project) -> list[Any]:
    """Everything that an attack could change: schema, rows, roles with their passwords, settings, sessions."""
    with production.cluster_of(project).connect(project.settings.name) as connection:
        found: list[Any] = [target.schema(project).fingerprint]
        for query in (
            "SELECT * FROM pg_authid ORDER BY oid",
            "SELECT roleid, member, admin_option FROM pg_auth_members ORDER BY 1, 2",
            "SELECT * FROM pg_db_role_setting ORDER BY 1, 2",
            "SELECT datname, datallowconn, datconnlimit, datacl::text, datdba FROM pg_database ORDER BY 1",
            "SELECT count(*), sum(hashtext(u::text)) FROM public.users u",
            "SELECT count(*), sum(hashtext(o::text)) FROM public.orders o",
            "SELECT count(*) FROM pg_largeobject_metadata",
            "SELECT name, setting FROM pg_settings WHERE source IN ('configuration file', 'global') ORDER BY 1",
        ):
            found.append(connection.execute(query).fetchall())
    return found
