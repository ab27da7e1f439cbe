"""The schema as data: read from a server, its fingerprint, and the difference of two."""

from seatrial.database.catalog.difference import Change, diff
from seatrial.database.catalog.reading import read
from seatrial.database.catalog.renaming import Rename, renames
from seatrial.database.catalog.schema import Schema, SchemaObject

__all__ = ["Change", "Rename", "Schema", "SchemaObject", "diff", "read", "renames"]
