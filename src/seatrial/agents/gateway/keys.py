"""Keys of model APIs: in the system's keyring where there is one, else in a file that only its owner may read.

`keys.toml` in Seatrial's home names every key and says where it is; it holds the keys that no keyring took.
Environment variables are not looked at: a key is used because it was stored here, never because it was lying around.
What this does not protect: the file is not encrypted; whoever is this user, or root, can read it, as they can read
the keyring of a session that is open.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from seatrial import paths
from seatrial.errors import SecretKeyError
from seatrial.settings import Secret

_SERVICE = "seatrial"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LONGEST = 4096
_SHOWN = 4


def keys_file() -> Path:
    """Return the file of keys; it may not exist."""
    return paths.home() / "keys.toml"


def set_key(name: str, key: Secret) -> str:
    """Keep `key` as `name`; return where: `keyring` or `file`.

    Raises SecretKeyError for a malformed name or key, or a file that others may read; StorageError when the file
    cannot be written.
    """
    value = key.reveal()
    if not _NAME.fullmatch(name):
        raise SecretKeyError(f"{name!r} is not a name of a key.", hint="Letters, digits, - and _.")
    if not value or len(value) > _LONGEST or not all("!" <= character <= "~" for character in value):
        raise SecretKeyError(f"The key for {name} is malformed.", hint="A key is printable ASCII without spaces.")
    with paths.locked(paths.home() / "keys.lock"):
        table = _read()
        keyring = _keyring()
        if keyring is not None:
            keyring.set_password(_SERVICE, name, value)
            table[name] = {"where": "keyring", "ends": _fingerprint(value)}
        else:
            table[name] = {"where": "file", "key": value}
        _write(table)
    return str(table[name]["where"])


def get_key(name: str) -> Secret | None:
    """Return the key called `name`, or None.

    Raises SecretKeyError when the file may be read by others or is malformed, or the keyring is not there any more.
    """
    entry = _read().get(name)
    if entry is None:
        return None
    if entry["where"] == "file":
        return Secret(entry["key"])
    keyring = _keyring()
    if keyring is None:
        raise SecretKeyError(
            f"The key {name} is in the system's keyring, which cannot be reached.",
            hint="Unlock the keyring, or store the key again.",
        )
    value = keyring.get_password(_SERVICE, name)
    return None if value is None else Secret(value)


def list_keys() -> list[tuple[str, str, str]]:
    """Return (name, `keyring` or `file`, its last four characters) of every key.  Raises SecretKeyError as get_key."""
    return [
        (name, entry["where"], _fingerprint(entry["key"]) if entry["where"] == "file" else str(entry.get("ends", "")))
        for name, entry in sorted(_read().items())
    ]


def remove_key(name: str) -> bool:
    """Forget the key called `name`; False when there is none.  Raises SecretKeyError as get_key."""
    with paths.locked(paths.home() / "keys.lock"):
        table = _read()
        entry = table.pop(name, None)
        if entry is None:
            return False
        keyring = _keyring() if entry["where"] == "keyring" else None
        if keyring is not None and keyring.get_password(_SERVICE, name) is not None:
            keyring.delete_password(_SERVICE, name)
        _write(table)
    return True


def _fingerprint(value: str) -> str:
    # Of a short key, four characters would be a good part.
    return f"…{value[-_SHOWN:]}" if len(value) >= 4 * _SHOWN else "…"


def _keyring() -> Any:
    """Return the keyring module, or None where it is not installed or has no place to keep anything."""
    try:
        keyring = importlib.import_module("keyring")
        # Backends that cannot work here say so by raising, those that keep nothing by their priority.
        return keyring if keyring.get_keyring().priority > 0 else None
    except (ImportError, RuntimeError):
        return None


def _read() -> dict[str, dict[str, Any]]:
    file = keys_file()
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise SecretKeyError(
            f"{file} cannot be read: {problem.strerror}.", hint="It must be a plain file of yours.", path=file
        ) from problem
    with os.fdopen(descriptor, "rb") as stream:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
            raise SecretKeyError(f"{file} is not a plain file of yours.", path=file)
        if facts.st_mode & 0o077:
            raise SecretKeyError(f"{file} may be read by others.", hint=f"chmod 600 {file}", path=file)
        data = stream.read()
    try:
        table = tomllib.loads(data.decode("utf-8"))
        for entry in table.values():
            if entry["where"] not in ("file", "keyring") or (entry["where"] == "file" and not entry["key"]):
                raise ValueError("a key is nowhere")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError):
        # The reason would quote the file, and with it perhaps a key.
        raise SecretKeyError(f"{file} is malformed.", hint="Remove it and store the keys again.", path=file) from None
    return table


def _write(table: dict[str, dict[str, Any]]) -> None:
    lines: list[str] = []
    for name, entry in sorted(table.items()):
        lines += [f"[{name}]", *(f"{field} = {json.dumps(value)}" for field, value in entry.items()), ""]
    with paths.atomic_write(keys_file()) as stream:
        stream.write("\n".join(lines).encode())
