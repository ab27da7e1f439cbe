"""Looking at a database from inside the transaction that changes it.

Every name is qualified, operators compare equal types (so that none of the searched schemas can offer a closer one),
and the rest is decided here rather than in SQL: what a change plants in the copy has no say in what is reported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import psycopg

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
"""Lock modes from the weakest to the strongest."""
KINDS = {
    "r": "table",
    "p": "partitioned table",
    "i": "index",
    "I": "partitioned index",
    "S": "sequence",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "c": "composite type",
}
TABLES = frozenset("rpm")
LARGE_OBJECTS = "large objects"
"""The name that rows of the server's list of large objects go by."""
_FIRST_USER_OID = 16384
_LARGE_OBJECTS_OID = 2995  # pg_largeobject_metadata: its deleted rows are deleted large objects

_RELATIONS = f"""
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relfilenode, i.indrelid, i.indisvalid
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
 WHERE c.oid >= {_FIRST_USER_OID}::pg_catalog.oid AND c.relpersistence <> 't'::pg_catalog."char"
"""
_COLUMNS = f"""
SELECT attrelid, attnum, attname, atttypid, atttypmod
  FROM pg_catalog.pg_attribute
 WHERE attrelid >= {_FIRST_USER_OID}::pg_catalog.oid AND attnum > 0::pg_catalog.int2 AND NOT attisdropped
"""
_OTHERS = f"""
SELECT 'function', oid, pronamespace, 0::pg_catalog.oid, proname FROM pg_catalog.pg_proc
 WHERE oid >= {_FIRST_USER_OID}::pg_catalog.oid
UNION ALL SELECT 'type', oid, typnamespace, 0::pg_catalog.oid, typname FROM pg_catalog.pg_type
 WHERE oid >= {_FIRST_USER_OID}::pg_catalog.oid AND typrelid = 0::pg_catalog.oid AND typelem = 0::pg_catalog.oid
UNION ALL SELECT 'constraint', oid, 0::pg_catalog.oid, conrelid, conname FROM pg_catalog.pg_constraint
 WHERE oid >= {_FIRST_USER_OID}::pg_catalog.oid AND conrelid <> 0::pg_catalog.oid
   AND contype <> 'n'::pg_catalog."char"  -- NOT NULL is a property of the column; newer servers list it here too
UNION ALL SELECT 'trigger', oid, 0::pg_catalog.oid, tgrelid, tgname FROM pg_catalog.pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'policy', oid, 0::pg_catalog.oid, polrelid, polname FROM pg_catalog.pg_policy
UNION ALL SELECT 'rule', oid, 0::pg_catalog.oid, ev_class, rulename FROM pg_catalog.pg_rewrite
 WHERE oid >= {_FIRST_USER_OID}::pg_catalog.oid AND rulename <> '_RETURN'::pg_catalog.name
UNION ALL SELECT 'schema', oid, 0::pg_catalog.oid, 0::pg_catalog.oid, nspname FROM pg_catalog.pg_namespace
UNION ALL SELECT 'extension', oid, 0::pg_catalog.oid, 0::pg_catalog.oid, extname FROM pg_catalog.pg_extension
UNION ALL SELECT 'event trigger', oid, 0::pg_catalog.oid, 0::pg_catalog.oid, evtname FROM pg_catalog.pg_event_trigger
UNION ALL SELECT 'publication', oid, 0::pg_catalog.oid, 0::pg_catalog.oid, pubname FROM pg_catalog.pg_publication
"""
_COUNTS = f"""
SELECT relid, n_tup_ins, n_tup_upd, n_tup_del, coalesce(seq_scan, 0::pg_catalog.int8),
       coalesce(seq_tup_read, 0::pg_catalog.int8)
  FROM pg_catalog.pg_stat_xact_all_tables
 WHERE relid >= {_FIRST_USER_OID}::pg_catalog.oid OR relid = {_LARGE_OBJECTS_OID}::pg_catalog.oid
"""
_LOCKS = """
SELECT l.relation, l.mode FROM pg_catalog.pg_locks l
 WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation'::pg_catalog.text AND l.granted
"""
_SIZES = """
SELECT c.oid, pg_catalog.pg_total_relation_size(c.oid), c.reltuples FROM pg_catalog.pg_class c
 WHERE c.oid = ANY (%s::pg_catalog.oid[])
"""
_POSITION = "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::pg_catalog.int8"
_SESSION = """
SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session'::pg_catalog.text
UNION ALL SELECT 'current_user', current_user::pg_catalog.text
UNION ALL SELECT 'session_user', session_user::pg_catalog.text
"""


@dataclass(frozen=True)
class Relation:
    """One relation; `name` is for people, qualified and quoted; `kind` a key of `KINDS`; `table` an index's table."""

    oid: int
    schema: str
    bare: str
    name: str
    kind: str
    filenode: int
    table: int | None
    is_valid: bool


@dataclass(frozen=True)
class Column:
    """One column and the oid and modifier of its type."""

    name: str
    type: int
    modifier: int


@dataclass(frozen=True)
class Counts:
    """Rows of one table changed in this transaction so far, and full scans with the rows they read."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    scans: int = 0
    read: int = 0

    def since(self, other: Counts) -> Counts:
        """Return the difference; a truncation resets the server's counters, which is no negative number of rows."""
        pairs = zip(_values(self), _values(other), strict=True)
        return Counts(*(max(0, mine - theirs) for mine, theirs in pairs))


@dataclass(frozen=True)
class Object:
    """Anything else with a name; `parent` is the relation it belongs to, or 0."""

    kind: str
    name: str
    parent: int


@dataclass(frozen=True)
class Snapshot:
    """What is there, what this transaction holds and has counted, and the position in the log (bytes)."""

    position: int
    relations: dict[int, Relation] = field(default_factory=dict)
    columns: dict[tuple[int, int], Column] = field(default_factory=dict)
    others: dict[tuple[str, int], Object] = field(default_factory=dict)
    locks: dict[int, str] = field(default_factory=dict)
    counts: dict[int, Counts] = field(default_factory=dict)
    session: dict[str, str] = field(default_factory=dict)


def look(connection: psycopg.Connection[Any]) -> Snapshot:
    """Return a snapshot, of the open transaction when there is one."""
    position = log_position(connection)
    relations = {
        oid: Relation(oid, schema, name, f"{quoted(schema)}.{quoted(name)}", kind, filenode, table, valid is not False)
        for oid, schema, name, kind, filenode, table, valid in connection.execute(_RELATIONS).fetchall()
        if kind in KINDS and not schema.startswith("pg_toast")
    }
    return Snapshot(
        position,
        relations,
        {(r[0], r[1]): Column(r[2], r[3], r[4]) for r in connection.execute(_COLUMNS).fetchall() if r[0] in relations},
        _others(connection, relations),
        _locks(connection),
        {row[0]: Counts(*row[1:]) for row in connection.execute(_COUNTS).fetchall()},
        dict(connection.execute(_SESSION).fetchall()),
    )


def sizes(connection: psycopg.Connection[Any], snapshot: Snapshot) -> dict[int, tuple[int, float]]:
    """Return bytes with indexes, and the planner's rows (-1: never counted), of every table."""
    tables = [oid for oid, relation in snapshot.relations.items() if relation.kind in TABLES]
    rows = connection.execute(_SIZES, (tables,))
    return {row[0]: (row[1] or 0, row[2]) for row in rows}


def log_position(connection: psycopg.Connection[Any]) -> int:
    """Return how many bytes of write-ahead log this server has written."""
    row = connection.execute(_POSITION).fetchone()
    assert row is not None
    return int(row[0])


def stronger(mode: str, other: str | None) -> bool:
    """Whether lock mode `mode` is stronger than `other`; anything is stronger than none."""
    return other is None or MODES.index(mode) > MODES.index(other)


def counted_name(oid: int, names: dict[int, str]) -> str | None:
    """Return what rows of this relation go by, None for what is not reported."""
    return LARGE_OBJECTS if oid == _LARGE_OBJECTS_OID else names.get(oid)


def quoted(name: str) -> str:
    """Return `name` as SQL needs it; plain lower-case names stay bare, as people write them."""
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _values(counts: Counts) -> tuple[int, ...]:
    return (counts.inserted, counts.updated, counts.deleted, counts.scans, counts.read)


def _locks(connection: psycopg.Connection[Any]) -> dict[int, str]:
    strongest: dict[int, str] = {}
    for oid, mode in connection.execute(_LOCKS).fetchall():
        if oid >= _FIRST_USER_OID and mode in MODES and stronger(mode, strongest.get(oid)):
            strongest[oid] = mode
    return strongest


def _others(connection: psycopg.Connection[Any], relations: dict[int, Relation]) -> dict[tuple[str, int], Object]:
    rows = connection.execute(_OTHERS).fetchall()
    schemas = {oid: name for kind, oid, _, _, name in rows if kind == "schema"}
    found = {}
    for kind, oid, schema, parent, name in rows:
        if kind == "schema" and name.startswith(("pg_temp_", "pg_toast")):
            continue
        full = quoted(name)
        if schema:
            full = f"{quoted(schemas.get(schema, str(schema)))}.{full}"
        elif parent:
            if parent not in relations:
                continue
            full = f"{full} on {relations[parent].name}"
        found[kind, oid] = Object(kind, full, parent)
    return found
