"""The policy: a TOML file that names every table and column, and what becomes of its values.

version = 1
[tables."public.users"]
id = "keep"
email = "email"
born = { with = "date", days = 30 }
[tables."public.audit"]
rows = "none"           # or "all", or { sample = 0.1 }
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.database.masking.transform import VERSION, Spec
from seatrial.database.project import Project
from seatrial.errors import MaskingError

_FORMAT = 1


@dataclass(frozen=True)
class TablePolicy:
    """What is copied of a table: `share` of its rows (0 to 1), and each column by its transformer."""

    share: float
    columns: dict[str, Spec]


@dataclass(frozen=True)
class Policy:
    """A policy as it was written; `hash` tells what was masked by it, and by which transformers."""

    file: str
    text: str
    tables: dict[str, TablePolicy]

    @property
    def hash(self) -> str:
        """SHA-256 of the text and the transformers' version; the salt is no part of it."""
        return hashlib.sha256(json.dumps([VERSION, self.text]).encode()).hexdigest()


def load(file: Path) -> Policy:
    """Read a policy; MaskingError when there is none or it is not one."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise MaskingError(
            f"The masking policy {file} cannot be read: {getattr(problem, 'strerror', None) or 'not UTF-8'}.",
            hint="seatrial db mask propose --output FILE writes one.",
        ) from problem
    return parse(text, str(file))


def current(project: Project) -> Policy | None:
    """Return the policy that `[db] masking` names, None where nothing is masked; MaskingError when it is not one."""
    return load(project.root / project.settings.masking) if project.settings.masking else None


def current_hash(project: Project) -> str:
    """Return the hash of the project's policy, "" where nothing is masked; MaskingError when it cannot be read."""
    found = current(project)
    return found.hash if found else ""


def parse(text: str, file: str = "the policy") -> Policy:
    """Return the policy of a text; MaskingError names what is wrong in it."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise MaskingError(f"{file} is not TOML: {problem}.") from problem
    unknown = set(content) - {"version", "tables"}
    if unknown or content.get("version") != _FORMAT or not isinstance(content.get("tables", {}), dict):
        wrong = f"unknown {sorted(unknown)[0]!r}" if unknown else f"it must say version = {_FORMAT}"
        raise MaskingError(f"{file}: {wrong}.", hint="The parts are version and [tables.…].")
    return Policy(file, text, {name: _table(file, name, part) for name, part in content.get("tables", {}).items()})


def _table(file: str, name: str, part: Any) -> TablePolicy:
    if not isinstance(part, dict):
        raise MaskingError(f'{file}: {name} must be a section, written [tables."{name}"].')
    share = 1.0
    columns = {}
    for key, value in part.items():
        if key == "rows":
            share = _share(file, name, value)
        else:
            plain = key[1:-1].replace('""', '"') if len(key) > 2 and key[0] == key[-1] == '"' else key
            columns[plain] = _spec(file, f"{name}.{key}", value)
    return TablePolicy(share, columns)


def _share(file: str, name: str, value: Any) -> float:
    if value in ("all", "none"):
        return 1.0 if value == "all" else 0.0
    if isinstance(value, dict) and set(value) == {"sample"}:
        share = value["sample"]
        if isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1:
            return float(share)
    raise MaskingError(
        f"{file}: `rows` of {name} is not one of its values.",
        hint='"all", "none" or { sample = 0.1 }; a column of that name is written \'"rows"\'.',
    )


def _spec(file: str, where: str, value: Any) -> Spec:
    if isinstance(value, str):
        return Spec(value)
    if isinstance(value, dict) and isinstance(value.get("with"), str):
        return Spec(value["with"], tuple((key, entry) for key, entry in value.items() if key != "with"))
    raise MaskingError(f"{file}: {where} names no transformer.", hint='Write "keep", or { with = "date", days = 30 }.')
