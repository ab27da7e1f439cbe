from __future__ import annotations

from pathlib import Path

import pytest

from seatrial import settings
from seatrial.errors import SettingError


def write(folder: Path, text: str) -> Path:
    (folder / "seatrial.toml").write_text(text)
    return folder


def test_defaults(tmp_path: Path) -> None:
    assert settings.load(tmp_path, {}) == settings.Settings()


def test_environment_beats_file(tmp_path: Path) -> None:
    write(tmp_path, '[see]\nmodel = "from-file"\nmax_new_tokens = 7\n')
    loaded = settings.load(tmp_path, {"SEATRIAL_SEE_MODEL": "from-environment"})
    assert (loaded.see.model, loaded.see.max_new_tokens) == ("from-environment", 7)


def test_file_of_a_parent_folder_counts(tmp_path: Path) -> None:
    write(tmp_path, "[see]\npdf_dpi = 99\n")
    (tmp_path / "deep").mkdir()
    assert settings.load(tmp_path / "deep", {}).see.pdf_dpi == 99


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[sea]\n", "unknown section"),
        ("[see]\nmodle = 'x'\n", "unknown key modle"),
        ("[see]\npdf_dpi = 'many'\n", "whole number"),
        ("[see]\npdf_dpi = true\n", "whole number"),
        ("[see]\nmodel = 3\n", "must be text"),
        ("see = 3\n", "must be a section"),
        ("[see\n", "cannot be read"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        settings.load(write(tmp_path, text), {})


def test_secrets_never_print(tmp_path: Path) -> None:
    loaded = settings.load(tmp_path, {"SEATRIAL_STORE_URL": "postgresql://me:hunter2@host/db"})
    assert "hunter2" not in repr(loaded)
    assert loaded.store.url.reveal().endswith("@host/db")


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        settings.Settings().see.model = "x"  # type: ignore[misc]
