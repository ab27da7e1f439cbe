"""Keys at rest."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.agents.gateway import keys
from seatrial.errors import SecretKeyError
from seatrial.settings import Secret

VALUE = "sk-ant-0123456789abcdefghijWXYZ"


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyring of the person running the tests is left alone: its null backend has priority -1."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


def test_a_key_is_kept_listed_and_removed() -> None:
    assert (keys.get_key("anthropic"), keys.list_keys(), keys.remove_key("anthropic")) == (None, [], False)
    assert keys.set_key("anthropic", Secret(VALUE)) == "file"
    keys.set_key("my-openai_2", Secret('odd"key\\with#signs-and-more'))
    assert keys.get_key("anthropic") == Secret(VALUE)
    assert keys.get_key("my-openai_2") == Secret('odd"key\\with#signs-and-more')
    assert keys.list_keys() == [("anthropic", "file", "…WXYZ"), ("my-openai_2", "file", "…more")]
    assert stat.S_IMODE(keys.keys_file().stat().st_mode) == 0o600
    assert keys.remove_key("anthropic") and keys.get_key("anthropic") is None
    assert [name for name, _, _ in keys.list_keys()] == ["my-openai_2"]


def test_short_keys_show_nothing() -> None:
    keys.set_key("local", Secret("ollama"))
    assert keys.list_keys() == [("local", "file", "…")]


@pytest.mark.parametrize("value", ["", "with space", "line\nbreak", "ü" * 20, "x" * 5000])
def test_malformed_keys_are_refused(value: str) -> None:
    with pytest.raises(SecretKeyError) as refused:
        keys.set_key("anthropic", Secret(value))
    assert not value or value not in refused.value.message


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a]b", "../x"])
def test_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(SecretKeyError):
        keys.set_key(name, Secret(VALUE))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused(mode: int) -> None:
    keys.set_key("anthropic", Secret(VALUE))
    keys.keys_file().chmod(mode)
    with pytest.raises(SecretKeyError, match="may be read by others"):
        keys.get_key("anthropic")
    with pytest.raises(SecretKeyError):
        keys.set_key("other", Secret(VALUE))


def test_a_link_or_pipe_is_refused(tmp_path: Path) -> None:
    keys.set_key("anthropic", Secret(VALUE))
    file = keys.keys_file()
    file.rename(tmp_path / "elsewhere.toml")
    file.symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(SecretKeyError):
        keys.get_key("anthropic")
    file.unlink()
    os.mkfifo(file, 0o600)
    with pytest.raises(SecretKeyError, match="plain file"):
        keys.get_key("anthropic")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_owner_is_refused() -> None:
    keys.set_key("anthropic", Secret(VALUE))
    os.chown(keys.keys_file(), 65534, 65534)
    with pytest.raises(SecretKeyError, match="of yours"):
        keys.get_key("anthropic")


def test_a_malformed_file_does_not_show_what_it_holds() -> None:
    keys.set_key("anthropic", Secret(VALUE))
    keys.keys_file().write_text(f'[anthropic]\nkey = "{VALUE}\n')
    with pytest.raises(SecretKeyError) as refused:
        keys.get_key("anthropic")
    assert VALUE not in str(refused.value.as_dict()) and refused.value.__cause__ is None


def test_the_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", VALUE)
    assert keys.get_key("anthropic") is None and keys.list_keys() == []


def test_writers_at_the_same_time_lose_nothing() -> None:
    code = "import sys; from seatrial.agents.gateway import keys; from seatrial.settings import Secret\n"
    code += f"keys.set_key(sys.argv[1], Secret({VALUE!r}))"
    names = [f"key{number}" for number in range(6)]
    running = [subprocess.Popen([sys.executable, "-c", code, name]) for name in names]
    assert [process.wait() for process in running] == [0] * 6
    assert [name for name, _, _ in keys.list_keys()] == names


def test_a_key_in_the_keyring_that_is_gone_is_said() -> None:
    keys.set_key("anthropic", Secret(VALUE))
    keys.keys_file().write_text(f"[anthropic]\nwhere = {json.dumps('keyring')}\n")
    with pytest.raises(SecretKeyError, match="keyring"):
        keys.get_key("anthropic")
