"""Images are unpacked as they were meant, and hostile ones reach nothing outside of their folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seatrial import paths
from seatrial.agents import images, layers
from seatrial.errors import SandboxError

Entry = tuple[str, str, Any]


def _layer(*entries: Entry, mode: int | None = None) -> bytes:
    """Make a layer of (kind, name, content or target)."""
    target = io.BytesIO()
    kinds = {"dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "char": tarfile.CHRTYPE,
             "pipe": tarfile.FIFOTYPE}  # fmt: skip
    with tarfile.open(fileobj=target, mode="w") as archive:
        for kind, name, value in entries:
            about = tarfile.TarInfo(name)
            about.type = kinds.get(kind, tarfile.REGTYPE)
            about.mode = mode if mode is not None else (0o755 if kind == "dir" else 0o644)
            if kind in ("link", "hard"):
                about.linkname = value
            data = value.encode() if kind == "file" else b""
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return target.getvalue()


def _archive(target: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(target, "w") as archive:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return target


def _docker(target: Path, *made: bytes) -> Path:
    names = [f"{number}/layer.tar" for number in range(len(made))]
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["x:1"], "Layers": names}]).encode()
    return _archive(target, {"manifest.json": manifest, **dict(zip(names, made, strict=True))})


def _blob(files: dict[str, bytes], data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    files[f"blobs/sha256/{digest}"] = data
    return f"sha256:{digest}"


def _oci(target: Path, made: Sequence[bytes], platforms: Sequence[Any] = (None,)) -> Path:
    files: dict[str, bytes] = {}
    manifest = json.dumps({"layers": [{"digest": _blob(files, layer)} for layer in made]}).encode()
    digest = _blob(files, manifest)
    entries = [{"digest": digest, **({"platform": platform} if platform else {})} for platform in platforms]
    inner = _blob(files, json.dumps({"manifests": entries}).encode())
    files["index.json"] = json.dumps({"manifests": [{"digest": inner}]}).encode()
    return _archive(target, files)


def _tree(folder: Path) -> dict[str, str]:
    found = {}
    for place in sorted(folder.rglob("*")):
        name = str(place.relative_to(folder))
        if place.is_symlink():
            found[name] = f"-> {place.readlink()}"
        else:
            found[name] = "/" if place.is_dir() else place.read_text()
    return found


LOWER = _layer(
    ("dir", "./usr", ""), ("dir", "usr/lib", ""), ("link", "lib", "usr/lib"), ("file", "usr/lib/a", "a1"),
    ("file", "usr/lib/b", "b1"), ("dir", "var", ""), ("dir", "var/log", ""), ("file", "var/log/old", "old"),
    ("file", "var/log/older", "older"), ("hard", "usr/c", "usr/lib/a"), ("dir", "gone", ""), ("file", "gone/x", "x"),
)  # fmt: skip
UPPER = _layer(
    ("file", "lib/a", "a2"), ("file", "var/log/new", "new"), ("file", "var/log/.wh..wh..opq", ""),
    ("file", ".wh.gone", ""), ("file", "usr/lib/.wh.b", ""), ("link", "usr/lib/absolute", "/usr/c"),
)  # fmt: skip
WHOLE = {
    "lib": "-> usr/lib", "usr": "/", "usr/c": "a1", "usr/lib": "/", "usr/lib/a": "a2", "usr/lib/absolute": "-> /usr/c",
    "var": "/", "var/log": "/", "var/log/new": "new",
}  # fmt: skip


def test_layers_of_docker_lie_over_each_other(tmp_path: Path) -> None:
    folder = images.import_image(_docker(tmp_path / "image.tar", LOWER, UPPER), "debian")
    assert _tree(folder) == WHOLE
    assert images.images() == ["debian"]
    assert images.root_of("debian") == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_layers_of_oci_are_found_through_indexes(tmp_path: Path) -> None:
    here = {"os": "linux", "architecture": layers._MACHINES[os.uname().machine]}
    other = {"os": "linux", "architecture": "s390x"}
    packed = [gzip.compress(LOWER), UPPER]
    assert _tree(images.import_image(_oci(tmp_path / "image.tar", packed, (other, here)), "a")) == WHOLE
    with pytest.raises(SandboxError, match="0 images for this machine"):
        images.import_image(_oci(tmp_path / "image.tar", packed, (other,)), "b")
    assert images.images() == ["a"]


def test_the_whole_archive_may_be_compressed(tmp_path: Path) -> None:
    plain = _docker(tmp_path / "image.tar", LOWER, UPPER)
    packed = tmp_path / "image.tar.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert _tree(images.import_image(packed, "a")) == WHOLE


def test_a_damaged_blob_is_refused(tmp_path: Path) -> None:
    file = _oci(tmp_path / "image.tar", [LOWER])
    file.write_bytes(file.read_bytes().replace(b"older", b"OLDER"))
    with pytest.raises(SandboxError, match="damaged"):
        images.import_image(file, "a")
    assert images.images() == []
    assert list((paths.home() / "images").iterdir()) == []


def test_names_are_taken_once_and_given_back(tmp_path: Path) -> None:
    file = _docker(tmp_path / "image.tar", LOWER)
    images.import_image(file, "a")
    with pytest.raises(SandboxError, match="already"):
        images.import_image(file, "a")
    images.remove_image("a")
    assert images.images() == []
    images.import_image(file, "a")
    with pytest.raises(SandboxError, match="no image b"):
        images.remove_image("b")
    for name in ("", "..", "../x", "A", "a/b", ".hidden"):
        with pytest.raises(SandboxError):
            images.import_image(file, name)
        with pytest.raises(SandboxError):
            images.root_of(name)


HOSTILE: dict[str, list[Entry]] = {
    "parent": [("file", "../outside", "x")],
    "parent below": [("dir", "a", ""), ("file", "a/../../outside", "x")],
    "hard link out": [("hard", "a", "../secret")],
    "hard link absolute": [("hard", "a", "{outside}/secret")],
    "hard link through link": [("link", "a", "{outside}"), ("hard", "b", "a/secret")],
    "hard link to folder": [("dir", "a", ""), ("hard", "b", "a")],
    "whiteout out": [("file", ".wh...", "")],
    "whiteout of itself": [("file", "a/.wh..", "")],
    "links in a ring": [("link", "a", "b"), ("link", "b", "a"), ("file", "a/x", "x")],
    "deep": [("file", "d/" * 300 + "x", "x")],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    entries = [(kind, where, str(value).replace("{outside}", str(outside))) for kind, where, value in HOSTILE[name]]
    with pytest.raises(SandboxError):
        images.import_image(_docker(tmp_path / "image.tar", _layer(*entries)), "a")
    assert _tree(outside) == {"secret": "secret"}
    assert (outside / "secret").stat().st_nlink == 1
    assert list((paths.home() / "images").iterdir()) == []


def test_links_are_followed_inside_only(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    made = _layer(
        ("link", "away", str(outside)), ("file", "away/new", "new"), ("file", "away/.wh.kept", ""),
        ("file", "away/.wh..wh..opq", ""), ("link", "up", "../../../../../../etc"), ("file", "up/passwd", "x"),
        ("link", "same", str(outside / "kept")), ("file", "same", "own"),
    )  # fmt: skip
    folder = images.import_image(_docker(tmp_path / "image.tar", made), "a")
    assert _tree(outside) == {"kept": "kept"}
    assert (folder / str(outside).lstrip("/") / "new").read_text() == "new"
    assert (folder / "etc" / "passwd").read_text() == "x"
    assert (folder / "same").read_text() == "own"
    assert not (folder / "same").is_symlink()


def test_device_nodes_pipes_and_special_bits_are_left_out(tmp_path: Path) -> None:
    made = _layer(("char", "null", ""), ("pipe", "pipe", ""), ("file", "su", "x"), ("dir", "shut", ""), mode=0o6111)
    folder = images.import_image(_docker(tmp_path / "image.tar", made), "a")
    assert sorted(_tree(folder)) == ["shut", "su"]
    assert stat.S_IMODE((folder / "su").stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "shut").stat().st_mode) == 0o755
    assert (folder / "su").stat().st_uid == os.geteuid()


def test_bombs_do_not_fill_the_disk_or_the_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(_layer(("file", "zeros", "\0" * (8 << 20))))
    with pytest.raises(SandboxError, match="larger"):
        images.import_image(_docker(tmp_path / "image.tar", bomb), "a", most_bytes=1 << 20)
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    with pytest.raises(SandboxError, match="header"):
        images.import_image(_docker(tmp_path / "image.tar", gzip.compress(header.tobuf())), "a")
    many = layers.Budget(1 << 30, entries=5)
    with pytest.raises(SandboxError, match="larger"):
        layers.apply(io.BytesIO(_layer(*(("dir", f"d{n}", "") for n in range(9)))), tmp_path, many)


@pytest.mark.parametrize("data", [b"", b"no archive", b"\x1f\x8b torn", gzip.compress(LOWER)[:200], LOWER[:700]])
def test_damage_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(data)
    with pytest.raises(SandboxError):
        images.import_image(file, "a")
    if data:
        with pytest.raises(SandboxError):
            images.import_image(_docker(file, data), "a")
    for manifest in (b"[]", b"{}", b"[1]", b"[{}]", b"\xff", b'[{"Layers": ["absent"]}]', b'[{"Layers": 3}]'):
        with pytest.raises(SandboxError):
            images.import_image(_archive(file, {"manifest.json": manifest}), "a")
    for index in (b"{}", b"[]", b'{"manifests": [{"digest": "sha256:../../x"}]}', b'{"layers": [{"digest": 3}]}'):
        with pytest.raises(SandboxError):
            images.import_image(_archive(file, {"index.json": index}), "a")
    with pytest.raises(SandboxError):
        images.import_image(tmp_path / "absent.tar", "a")
    assert images.images() == []


def test_compressed_by_zstd_is_said(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="zstd"):
        images.import_image(_docker(tmp_path / "image.tar", b"\x28\xb5\x2f\xfd" + b"x" * 600), "a")
