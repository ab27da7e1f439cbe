"""The tables of a database as masking sees them: their columns with types, limits, and what must stay unique."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg

_TABLES = """
SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind,
       coalesce((SELECT quote_ident(m.nspname) || '.' || quote_ident(r.relname)
                 FROM pg_class r JOIN pg_namespace m ON m.oid = r.relnamespace
                 WHERE r.oid = pg_partition_root(c.oid)), ''), pg_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'seatrial')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.deptype = 'e')
ORDER BY 2
"""
_COLUMNS = """
SELECT a.attrelid, a.attnum, a.attname, quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), a.atttypid,
       a.atttypmod, a.attnotnull, a.attgenerated <> ''
FROM pg_attribute a WHERE a.attrelid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
_TYPES = "SELECT oid, typname, typtype, typbasetype, typtypmod, typelem, typcategory FROM pg_type"
_UNIQUE = """
SELECT i.indrelid, k.attnum FROM pg_index i, unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k (attnum)
WHERE i.indisunique AND k.attnum > 0
UNION SELECT d.refobjid, d.refobjsubid FROM pg_index i JOIN pg_depend d ON d.objid = i.indexrelid
WHERE i.indisunique AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = i.indrelid AND d.refobjsubid > 0
"""
_PARTITION_KEYS = """
SELECT p.partrelid, k.attnum FROM pg_partitioned_table p, unnest(p.partattrs::int2[]) AS k (attnum) WHERE k.attnum > 0
"""
_REFERENCES = """
SELECT k.conname, k.conrelid, k.confrelid, k.conkey, k.confkey FROM pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY k.conname
"""


@dataclass(frozen=True)
class Column:
    """A column; `base` is the type's own name below domains, `element` that of an array's elements.

    `limit` is the most characters, `digits` the (precision, scale) of a numeric.
    """

    name: str
    identity: str
    type: str
    base: str
    element: str = ""
    enum: bool = False
    limit: int | None = None
    digits: tuple[int, int] | None = None
    not_null: bool = False
    generated: bool = False
    unique: bool = False
    partition_key: bool = False

    @property
    def scalar(self) -> str:
        """The type that a transformer meets: that of the elements where there are some."""
        return self.element or self.base


@dataclass(frozen=True)
class Reference:
    """A foreign key: from the columns of one table to those of another, all by name."""

    name: str
    table: str
    target: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """A table; `root` is the partitioned table that a partition belongs to, `bytes` the size of its own rows."""

    identity: str
    partitioned: bool
    root: str
    bytes: int
    columns: tuple[Column, ...]
    references: tuple[Reference, ...] = field(default=())

    @property
    def policy_name(self) -> str:
        """The table that a policy names for it."""
        return self.root or self.identity


def read(connection: psycopg.Connection[Any]) -> tuple[Table, ...]:
    """Return the tables of a database, without those of extensions; only catalog tables are read."""
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        tables = connection.execute(_TABLES).fetchall()
        columns = connection.execute(_COLUMNS, [[row[0] for row in tables]]).fetchall()
        types = {row[0]: row for row in connection.execute(_TYPES).fetchall()}
        unique = set(connection.execute(_UNIQUE).fetchall())
        keys = set(connection.execute(_PARTITION_KEYS).fetchall())
        references = connection.execute(_REFERENCES).fetchall()
    names = {row[0]: row[1] for row in tables}
    numbered = {(row[0], row[1]): row[2] for row in columns}
    found = []
    for oid, identity, kind, root, size in tables:
        own = tuple(
            _column(row, types, (oid, row[1]) in unique, (oid, row[1]) in keys) for row in columns if row[0] == oid
        )
        links = tuple(
            Reference(
                name,
                identity,
                names[target],
                tuple((numbered[oid, a], numbered[target, b]) for a, b in zip(here, there, strict=True)),
            )
            for name, table, target, here, there in references
            if table == oid and target in names
        )
        found.append(Table(identity, kind == "p", root if root != identity else "", size, own, links))
    return tuple(found)


def _column(row: tuple[Any, ...], types: dict[int, tuple[Any, ...]], unique: bool, key: bool) -> Column:
    _, _, name, identity, shown, oid, modifier, not_null, generated = row
    oid, modifier = _below_domains(oid, modifier, types)
    _, base, kind, _, _, element_oid, category = types[oid]
    element = ""
    if category == "A":
        element_oid, modifier = _below_domains(element_oid, modifier, types)
        element, kind = types[element_oid][1], types[element_oid][2]
    scalar = element or base
    limit = modifier - 4 if scalar in ("varchar", "bpchar") and modifier > 4 else None
    digits = None
    if scalar == "numeric" and modifier > 4:
        scale = (modifier - 4) & 0x7FF
        digits = ((modifier - 4) >> 16) & 0xFFFF, scale - 2048 if scale > 1023 else scale
    return Column(
        name,
        identity,
        shown,
        base,
        element,
        kind == "e",
        limit,
        digits,
        not_null,
        generated,
        unique,
        key,
    )


def _below_domains(oid: int, modifier: int, types: dict[int, tuple[Any, ...]]) -> tuple[int, int]:
    while types[oid][2] == "d":
        oid, modifier = types[oid][3], types[oid][4]
    return oid, modifier
