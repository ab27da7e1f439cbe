"""Hand-overs that no honest git would make: each is refused in one sentence and leaves the relay as it was."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from seatrial.agents.git.inside import Completed
from seatrial.agents.git.pack import Limits
from seatrial.agents.git.relay import agent_refs, collect, register
from seatrial.errors import RelayError
from tests.unit.agents.git.sandbox import Yard, git, new_yard

PERSON = "Eve <eve@seatrial.invalid> 1700000000 +0000"
COMMIT, TREE, BLOB, TAG, OFFSET_DELTA, REF_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
FEW = Limits(object_bytes=1 << 20, inflated_bytes=4 << 20, objects=2_000, new_files=1_000, depth=20, commits=3, tips=8)


def size_bytes(kind: int, size: int) -> bytes:
    first, rest = kind << 4 | size & 15, size >> 4
    out = bytearray()
    while rest:
        out.append(first | 0x80)
        first, rest = rest & 0x7F, rest >> 7
    out.append(first)
    return bytes(out)


@dataclass
class Eve:
    """An agent that answers by hand: objects it makes up, a pack that it writes itself."""

    objects: dict[str, bytes] = field(default_factory=dict)
    said: bytes = b""
    pack: bytes | None = None
    asked: list[str] = field(default_factory=list)

    def add(self, kind: int, data: bytes) -> str:
        name = hashlib.sha1(NAMES[kind] + b" %d\0" % len(data) + data).hexdigest()
        self.objects[name] = size_bytes(kind, len(data)) + zlib.compress(data)
        return name

    def tree(self, *entries: tuple[str, str | bytes, str]) -> str:
        raw = b""
        for mode, name, target in entries:
            raw += (
                mode.encode()
                + b" "
                + (name.encode() if isinstance(name, str) else name)
                + b"\0"
                + bytes.fromhex(target)
            )
        return self.add(TREE, raw)

    def commit(self, tree: str, *parents: str, message: str = "x", author: str = PERSON) -> str:
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {author}", f"committer {PERSON}"]
        return self.add(COMMIT, ("\n".join(lines) + f"\n\n{message}\n").encode())

    def packed(self) -> bytes:
        body = b"PACK" + struct.pack(">II", 2, len(self.objects)) + b"".join(self.objects.values())
        return body + hashlib.sha1(body).digest()

    def inside(self, argv: Sequence[str], stdin: bytes | None) -> Completed:
        return Completed(0, self.said, b"")

    def inside_to(self, argv: Sequence[str], output: BinaryIO, limit: int) -> int:
        data = self.packed() if self.pack is None else self.pack
        if len(data) > limit:
            raise RelayError("The agent hands over more than is allowed.")
        output.write(data)
        return 0

    def head(self, commit: str) -> None:
        self.said = f"head {commit}\nwork {commit}\n".encode()


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    made = new_yard(tmp_path_factory.mktemp("yard"))
    register(made.relay, "eve", git(made.repository, "rev-parse", "HEAD"))
    return made


def refused(yard: Yard, eve: Eve, match: str, limits: Limits = FEW) -> None:
    before = agent_refs(yard.relay, "eve")
    packs = sorted((yard.relay.path / "objects" / "pack").iterdir())
    with pytest.raises(RelayError, match=match) as error:
        collect(yard.relay, "eve", eve.inside, eve.inside_to, limits)
    assert "\n" not in error.value.message
    assert agent_refs(yard.relay, "eve") == before
    assert sorted((yard.relay.path / "objects" / "pack").iterdir()) == packs
    assert list((yard.relay.path / "seatrial" / "quarantine").glob("*")) == []


def simple(eve: Eve, yard: Yard) -> str:
    blob = eve.add(BLOB, b"x\n")
    return eve.commit(eve.tree(("100644", "x", blob)), agent_refs(yard.relay, "eve").base)


def test_the_hand_made_pack_is_accepted_when_it_is_sound(tmp_path: Path) -> None:
    own, eve = new_yard(tmp_path), Eve()
    register(own.relay, "eve", git(own.repository, "rev-parse", "HEAD"))
    eve.head(simple(eve, own))
    assert collect(own.relay, "eve", eve.inside, eve.inside_to, FEW).ahead == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (".git", "hasDotgit"),
        (".GIT", "hasDotgit"),
        (".g\u200cit", "hasDotgit"),
        ("git~1", "hasDotgit"),
        (".git ", "hasDotgit"),
        (".git.", "hasDotgit"),
        (".git::$INDEX_ALLOCATION", "hasDotgit"),
        ("x\\.git\\hooks", "is not sound"),
        ("..", "hasDotdot"),
        (".", "hasDot"),
        ("", "is not sound"),
        ("a/b", "fullPathname"),
        ("../../etc/cron.d/x", "fullPathname"),
    ],
    ids=repr,
)
def test_names_that_reach_where_they_should_not(yard: Yard, name: str, told: str) -> None:
    eve = Eve()
    blob = eve.add(BLOB, b"x\n")
    inner = eve.tree(("100755", "post-checkout", blob))
    mode, target = ("40000", inner) if "/" not in name and "\\" not in name else ("100644", blob)
    eve.head(eve.commit(eve.tree((mode, name, target))))
    refused(yard, eve, told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[submodule "../../x"]\n\tpath = x\n\turl = https://a.invalid\n', "gitmodulesName"),
        ('[submodule "x"]\n\tpath = x\n\turl = -u./evil\n', "gitmodulesUrl"),
        ('[submodule "x"]\n\tpath = -x\n\turl = https://a.invalid\n', "gitmodulesPath"),
        ('[submodule "x"]\n\tpath = x\n\turl = https://a.invalid\n\tupdate = !evil\n', "gitmodulesUpdate"),
        ("[submodule\n", "gitmodulesParse"),
    ],
    ids=["name", "url", "path", "update", "garbage"],
)
def test_gitmodules_that_attack(yard: Yard, text: str, told: str) -> None:
    eve = Eve()
    eve.head(eve.commit(eve.tree(("100644", ".gitmodules", eve.add(BLOB, text.encode())))))
    refused(yard, eve, told)


@pytest.mark.parametrize("name", [".gitmodules", ".gitattributes"])
def test_links_in_place_of_gits_own_files(yard: Yard, name: str) -> None:
    eve = Eve()
    eve.head(eve.commit(eve.tree(("120000", name, eve.add(BLOB, b"elsewhere")))))
    refused(yard, eve, "Symlink")


def bomb(eve: Eve, yard: Yard) -> str:
    """One gigabyte of zeros in a megabyte."""
    size = 1 << 30
    stream, zeros = zlib.compressobj(9), bytes(1 << 20)
    data = b"".join(stream.compress(zeros) for _ in range(size >> 20)) + stream.flush()
    eve.objects["bomb"] = size_bytes(BLOB, size) + data
    return "is allowed|are allowed"


def lying_bomb(eve: Eve, yard: Yard) -> str:
    eve.objects["bomb"] = size_bytes(BLOB, 10) + zlib.compress(bytes(8 << 20))
    return "larger than it says"


def many_bombs(eve: Eve, yard: Yard) -> str:
    for number in range(6):
        eve.add(BLOB, bytes((1 << 20) - 1) + bytes([number]))
    return "inflates to more than"


def delta_bomb(eve: Eve, yard: Yard) -> str:
    """A delta of a few bytes whose result is said to have a terabyte."""
    base = eve.add(BLOB, b"base")
    result, delta = 1 << 40, bytearray([4])
    while result > 127:
        delta.append(result & 127 | 128)
        result >>= 7
    delta.append(result)
    data = bytes(delta)
    eve.objects["delta"] = size_bytes(REF_DELTA, len(data)) + bytes.fromhex(base) + zlib.compress(data)
    return "are allowed"


def truncated(eve: Eve, yard: Yard) -> str:
    eve.pack = eve.packed()[:-30]
    return "torn|damaged|not sound|holds"


def empty(eve: Eve, yard: Yard) -> str:
    eve.pack = b""
    return "torn"


def trailing(eve: Eve, yard: Yard) -> str:
    eve.pack = eve.packed()[:-20] + b"more" + eve.packed()[-20:]
    return "more than the objects"


def flipped(eve: Eve, yard: Yard) -> str:
    eve.pack = eve.packed()[:-1] + bytes([eve.packed()[-1] ^ 1])
    return "not sound"


def countless(eve: Eve, yard: Yard) -> str:
    eve.pack = b"PACK" + struct.pack(">II", 2, 0xFFFFFFFF) + eve.packed()[12:]
    return "4294967295 objects"


def no_pack(eve: Eve, yard: Yard) -> str:
    eve.pack = b"# v2 git bundle\n" + bytes(100)
    return "not a pack"


def endless_size(eve: Eve, yard: Yard) -> str:
    eve.pack = b"PACK" + struct.pack(">II", 2, 1) + b"\xff" * 4096 + b"\x01" + bytes(20)
    return "does not end"


def offset_before_start(eve: Eve, yard: Yard) -> str:
    eve.objects["delta"] = size_bytes(OFFSET_DELTA, 4) + b"\xff\xff\x7f" + zlib.compress(b"\x04\x04\x90\x04")
    return "not sound"


def unknown_kind(eve: Eve, yard: Yard) -> str:
    eve.objects["kind"] = size_bytes(5, 4) + zlib.compress(b"abcd")
    return "unknown kind"


def missing_blob(eve: Eve, yard: Yard) -> str:
    eve.head(eve.commit(eve.tree(("100644", "x", "12" * 20))))
    return "not sound|incomplete"


def missing_parent(eve: Eve, yard: Yard) -> str:
    eve.head(eve.commit(eve.tree(("100644", "x", eve.add(BLOB, b"x"))), "34" * 20))
    return "not sound|incomplete"


def absent_head(eve: Eve, yard: Yard) -> str:
    eve.head("56" * 20)
    return "did not come along"


def blob_as_head(eve: Eve, yard: Yard) -> str:
    eve.head(eve.add(BLOB, b"not a commit"))
    return "not a commit"


def tag_as_head(eve: Eve, yard: Yard) -> str:
    commit = simple(eve, yard)
    eve.head(eve.add(TAG, f"object {commit}\ntype commit\ntag t\ntagger {PERSON}\n\nt\n".encode()))
    return "not a commit"


def headless_commit(eve: Eve, yard: Yard) -> str:
    eve.head(eve.commit(eve.tree(("100644", "x", eve.add(BLOB, b"x"))), author="nobody"))
    return "not sound"


def zero_id(eve: Eve, yard: Yard) -> str:
    eve.head(eve.commit(eve.tree(("160000", "x", "00" * 20))))
    return "nullSha1"


def a_million_files(eve: Eve, yard: Yard) -> str:
    inner = eve.tree(*(("100644", f"{n:04}", eve.add(BLOB, b"x")) for n in range(1_000)))
    eve.head(eve.commit(eve.tree(*(("40000", f"{n:04}", inner) for n in range(1_000)))))
    return "1000000 files"


def a_trillion_files(eve: Eve, yard: Yard) -> str:
    tree = eve.tree(("100644", "x", eve.add(BLOB, b"x")))
    for _ in range(12):
        tree = eve.tree(*(("40000", str(n), tree) for n in range(10)))
    eve.head(eve.commit(tree))
    return "1000000000000 files"


def deep_folders(eve: Eve, yard: Yard) -> str:
    tree = eve.tree(("100644", "x", eve.add(BLOB, b"x")))
    for _ in range(1_500):
        tree = eve.tree(("40000", "d", tree))
    eve.head(eve.commit(tree))
    return "folders within folders"


def long_name(eve: Eve, yard: Yard) -> str:
    eve.head(eve.commit(eve.tree(("100644", "n" * 300, eve.add(BLOB, b"x")))))
    return "file name of 300 bytes"


def long_path(eve: Eve, yard: Yard) -> str:
    tree = eve.tree(("100644", "x", eve.add(BLOB, b"x")))
    for _ in range(18):
        tree = eve.tree(("40000", "d" * 250, tree))
    eve.head(eve.commit(tree))
    return "a path of 45"


def many_commits(eve: Eve, yard: Yard) -> str:
    parent = simple(eve, yard)
    tree = eve.tree(("100644", "x", eve.add(BLOB, b"x\n")))
    for number in range(5):
        parent = eve.commit(tree, parent, message=str(number))
    eve.head(parent)
    return "more than 3 new commits"


ATTACKS = (bomb, lying_bomb, many_bombs, delta_bomb, truncated, empty, trailing, flipped, countless, no_pack,
           endless_size, offset_before_start, unknown_kind, missing_blob, missing_parent, absent_head, blob_as_head,
           tag_as_head, headless_commit, zero_id, a_million_files, a_trillion_files, deep_folders, long_name,
           long_path, many_commits)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_packs_that_attack(yard: Yard, attack: Callable[[Eve, Yard], str]) -> None:
    eve = Eve()
    eve.head(simple(eve, yard))
    refused(yard, eve, attack(eve, yard))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff\xfe garbage",
        b"head --all\nwork --all\n",
        b"head HEAD\nwork HEAD\n",
        b"head ../../etc/passwd\nwork x\n",
        b"head " + b"A" * 40 + b"\nwork " + b"A" * 40 + b"\n",
        b"head " + b"a" * 64 + b"\nwork " + b"a" * 64 + b"\n",
        b"head " + b"a" * 40 + b"\n",
        (b"head " + b"a" * 40 + b"\n") * 2 + b"work " + b"a" * 40 + b"\n",
        b"head " + b"a" * 40 + b"\nwork " + b"a" * 40 + b"\n" + b"other " + b"b" * 40 + b"\nrefs/heads/main\n",
        b"head " + b"a" * 40 + b"\nwork " + b"a" * 40 + b"\n" + (b"other " + b"b" * 40 + b"\n") * 100,
        b"x" * (1 << 20),
    ],
    ids=range(12),
)
def test_answers_that_are_none(yard: Yard, said: bytes) -> None:
    refused(yard, Eve(said=said), "not an answer|named no head")


def test_a_stream_beyond_the_limit_ends(yard: Yard) -> None:
    eve = Eve()
    eve.head(simple(eve, yard))
    refused(yard, eve, "more than is allowed", Limits(pack_bytes=100))
