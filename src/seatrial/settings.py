"""Settings: `seatrial.toml` < environment < arguments; frozen; unknown keys refused.

`seatrial.toml` is looked for in the working folder and its parents, then in Seatrial's home.  The
environment variable of a setting is derived from its place: `[see] model` is `SEATRIAL_SEE_MODEL`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from seatrial import paths
from seatrial.errors import SettingError


class Secret:
    """A string that never prints itself; `reveal()` gives the value."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the hidden value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True)
class StoreSettings:
    """`[store]`: where state is kept."""

    url: Secret = field(
        default=Secret(""),
        metadata={"about": "Database URL of the state store; empty is a SQLite file in Seatrial's home."},
    )


@dataclass(frozen=True)
class SeeSettings:
    """`[see]`: the vision engine."""

    model: str = field(
        default="pico", metadata={"about": "Model to use: `pico` (bundled), a folder, or a hub id that was pulled."}
    )
    precision: str = field(default="auto", metadata={"about": "`auto`, `f32`, `bf16`, `int8` or `int4`."})
    max_new_tokens: int = field(default=256, metadata={"about": "Most tokens in one answer."})
    max_pixels: int = field(
        default=178_956_970, metadata={"about": "Largest picture that is decoded, in pixels (width × height)."}
    )
    max_pages: int = field(
        default=20, metadata={"about": "Most pages or frames taken from one document without naming a range."}
    )
    feature_memory: int = field(
        default=256 * 2**20, metadata={"about": "Bytes of tile features kept in memory; 0 keeps none."}
    )
    feature_disk: int = field(
        default=2**30, metadata={"about": "Bytes of tile features kept in the cache folder; 0 keeps none."}
    )
    packed_disk: int = field(
        default=2**34, metadata={"about": "Bytes of packed weights kept in the cache folder; 0 keeps none."}
    )
    detail: str = field(
        default="high",
        metadata={"about": "Tiles of a picture: `high` (as the reference), `auto`, `low`, or the most tiles."},
    )
    pdf_dpi: int = field(
        default=150, metadata={"about": "Resolution at which PDF pages are rendered, in dots per inch."}
    )


@dataclass(frozen=True)
class DbSettings:
    """`[db]`: branches of Postgres and the gate."""

    name: str = field(default="app", metadata={"about": "Name of the database, in production and in every branch."})
    folder: str = field(
        default="",
        metadata={"about": "Folder of all servers' data; empty is Seatrial's home (root: /var/lib/seatrial)."},
    )
    postgres: str = field(
        default="", metadata={"about": "Postgres to run: a major version or a folder; empty is the newest found."}
    )
    port: int = field(
        default=0, metadata={"about": "Port on the loopback where clients connect; 0 chooses one and keeps it."}
    )
    sleep_seconds: int = field(
        default=300, metadata={"about": "Seconds without a client after which a server is stopped; 0 is never."}
    )
    branch_ttl: str = field(default="7d", metadata={"about": "How long a branch lives unless told otherwise."})
    max_branches: int = field(default=50, metadata={"about": "Most branches at a time."})
    max_branch_bytes: int = field(
        default=0, metadata={"about": "Most bytes that the files of one branch may have; 0 is no limit."}
    )
    keep_snapshots: int = field(default=3, metadata={"about": "Golden copies of a source that are kept."})
    masking: str = field(
        default="", metadata={"about": "Masking policy, a file beside seatrial.toml; empty copies as it is."}
    )
    migrations: str = field(default="migrations", metadata={"about": "Folder of migrations, beside seatrial.toml."})
    lock_timeout_ms: int = field(
        default=2000, metadata={"about": "Milliseconds that a change waits for a lock before it tries again."}
    )
    statement_timeout_ms: int = field(
        default=600_000, metadata={"about": "Milliseconds that one statement of a change may take."}
    )
    apply_tries: int = field(default=10, metadata={"about": "How often apply tries to get its locks."})
    approvals: int = field(default=1, metadata={"about": "How many people must approve a change."})
    approval_ttl: str = field(default="24h", metadata={"about": "How long an approval is good for."})


@dataclass(frozen=True)
class Settings:
    """All settings; one attribute per section of `seatrial.toml`."""

    store: StoreSettings = StoreSettings()
    see: SeeSettings = SeeSettings()
    db: DbSettings = DbSettings()


def variable(section: str, key: str) -> str:
    """Return the environment variable of a setting."""
    return f"SEATRIAL_{section}_{key}".upper()


def described() -> Iterator[tuple[str, str, Any, str]]:
    """Yield (section, key, default, about) for every setting, in order."""
    for section in fields(Settings):
        for entry in fields(section.default):  # type: ignore[arg-type]
            yield section.name, entry.name, entry.default, entry.metadata["about"]


def load(folder: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings that hold in `folder` (default: the working folder).

    Raises SettingError for an unknown section or key, a value of the wrong type, or bad TOML.
    """
    environ = os.environ if environ is None else environ
    found = _find(folder or Path.cwd())
    written = _parse(found) if found else {}
    settings = Settings()
    for section in fields(Settings):
        part = getattr(settings, section.name)
        values: dict[str, Any] = {}
        for entry in fields(part):
            if entry.name in written.get(section.name, {}):
                values[entry.name] = _cast(written[section.name][entry.name], entry.default, f"{found}: {entry.name}")
            name = variable(section.name, entry.name)
            if name in environ:
                values[entry.name] = _cast(environ[name], entry.default, name)
        settings = replace(settings, **{section.name: replace(part, **values)})
    return settings


def _find(folder: Path) -> Path | None:
    places = [folder, *folder.parents, paths.home()]
    return next((place / "seatrial.toml" for place in places if (place / "seatrial.toml").is_file()), None)


def _parse(file: Path) -> dict[str, dict[str, Any]]:
    try:
        written = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as problem:
        raise SettingError(f"{file} cannot be read: {problem}.", path=file) from problem
    sections = {section.name: section.default for section in fields(Settings)}
    for name, part in written.items():
        if name not in sections:
            raise SettingError(f"{file}: unknown section [{name}].", hint=f"Known: {', '.join(sections)}.")
        if not isinstance(part, dict):
            raise SettingError(f"{file}: {name} must be a section, written [{name}].")
        known = [entry.name for entry in fields(sections[name])]  # type: ignore[arg-type]
        for key in part:
            if key not in known:
                raise SettingError(f"{file}: unknown key {key} in [{name}].", hint=f"Known: {', '.join(known)}.")
    return written


def _cast(value: Any, default: Any, where: str) -> Any:
    if isinstance(default, Secret):
        return Secret(str(value))
    if isinstance(default, int):
        try:
            if isinstance(value, bool | float):
                raise ValueError
            return int(value)
        except ValueError:
            raise SettingError(f"{where} must be a whole number, not {value!r}.") from None
    if not isinstance(value, str):
        raise SettingError(f"{where} must be text, not {value!r}.")
    return value
