"""The masking policy beside production as it is now: proposed, checked, tried out."""

from __future__ import annotations

from pathlib import Path

from seatrial import paths
from seatrial.database import production
from seatrial.database.masking import columns, coverage, guess, literals, policy
from seatrial.database.postgres.connection import explained
from seatrial.database.project import Project
from seatrial.database.sources import address
from seatrial.database.sources.refresh import SALT
from seatrial.database.sources.rows import Copier
from seatrial.errors import MaskingError

# A check that lists what a column may be: = ANY (ARRAY['a', 'b']).
_LISTED = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname, k.conname
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
WHERE k.contype = 'c' AND cardinality(k.conkey) = 1 AND pg_get_constraintdef(k.oid) ~ '= ANY \\(\\(?ARRAY\\['
"""


def propose_policy(project: Project) -> str:
    """Return a policy for production's tables, guessed from names and types; no row is read.

    Raises PostgresError when production cannot be reached.
    """
    with address.open_for_reading(address.of(project, production.source_of(project))) as connection:
        tables = columns.read(connection)
        with connection.transaction():
            connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
            listed = {(table, column): name for table, column, name in connection.execute(_LISTED).fetchall()}
    return guess.propose(tables, listed)


def write_policy(file: Path, text: str) -> None:
    """Write a proposed policy; MaskingError when there is a file already, StorageError when it cannot be written."""
    if file.exists():
        raise MaskingError(f"{file} is there already.", hint="Name another file; compare, and edit.")
    with paths.atomic_write(file) as stream:
        stream.write(text.encode())


def check_policy(project: Project) -> list[str]:
    """Return a sentence for everything in production that the policy does not cover, or cannot mask as it says.

    Raises MaskingError when there is no policy or it cannot be read.
    """
    wanted = _wanted(project)
    with address.open_for_reading(address.of(project, production.source_of(project))) as connection:
        return coverage.problems(wanted, columns.read(connection))


def try_policy(project: Project, table: str, count: int = 10) -> tuple[list[str], list[list[str]]]:
    """Return (names, rows) of the masked columns of a table's first rows; real values are not shown.

    Raises MaskingError when the policy does not fit, or there is no such table or no masked column in it.
    """
    wanted = _wanted(project)
    url = address.of(project, production.source_of(project))
    with address.open_for_reading(url) as connection, explained(f"{table} cannot be read"):
        tables = columns.read(connection)
        coverage.check(wanted, tables)
        found = next((t for t in tables if table in (t.identity, t.identity.removeprefix("public."))), None)
        if found is None:
            raise MaskingError(f"There is no table {table}.", hint="Name it with its schema.")
        if not wanted.tables[found.policy_name].share:
            raise MaskingError(f"No rows of {found.identity} are copied.")
        copier = Copier(connection, connection, tables, wanted, project.secret(SALT))
        names: list[str] = []
        rows = []
        for shown, fields in copier.sample(found, count):
            names = [column.name for column in shown]
            rows.append([_shown(field) for field in fields])
    return names, rows


def _wanted(project: Project) -> policy.Policy:
    found = policy.current(project)
    if found is None:
        raise MaskingError("This project masks nothing.", hint='Write masking = "masking.toml" under [db].')
    return found


def _shown(field: bytes) -> str:
    return "NULL" if field == literals.NULL else literals.unescape(field).decode()
