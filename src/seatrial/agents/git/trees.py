"""How many files a tree would have when written out, found without writing any: trees may repeat each other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO

from seatrial.agents.git.pack import Limits
from seatrial.errors import RelayError

_LONGEST_NAME = 255
_MOST_TREE_BYTES = 1 << 30

CatFile = Callable[[bytes, BinaryIO], None]
"""Runs `git cat-file --batch` on names (one a line) and writes to a file."""


@dataclass(frozen=True)
class TreeSize:
    """What a tree amounts to: files, folders within folders, bytes of the longest path."""

    files: int
    depth: int
    path_bytes: int


@dataclass(frozen=True)
class _Tree:
    files: int
    longest: int
    folders: tuple[tuple[int, str], ...]


def tree_sizes(roots: Iterable[str], cat_file: CatFile, hash_bytes: int, limits: Limits) -> dict[str, TreeSize]:
    """Return the size of each root, reading every distinct tree below once.

    Time grows with the distinct trees, not with the files: a million files made of a few repeated trees cost nothing.
    Raises RelayError if trees nest beyond `limits.depth`, hold names longer than 255 bytes or cannot be read.
    """
    trees: dict[str, _Tree] = {}
    levels: list[list[str]] = []
    wanted = list(dict.fromkeys(roots))
    read = 0
    while wanted:
        if len(levels) > limits.depth:
            raise RelayError(f"The agent's work has more than {limits.depth} folders within folders.")
        levels.append(wanted)
        with tempfile.TemporaryFile() as output:
            cat_file("".join(f"{name}\n" for name in wanted).encode(), output)
            read += output.tell()
            if read > _MOST_TREE_BYTES:
                raise RelayError("The folders of the agent's work are too large.")
            output.seek(0)
            for name in wanted:
                trees[name] = _parse(name, output, hash_bytes)
        wanted = list(dict.fromkeys(sub for name in wanted for _, sub in trees[name].folders if sub not in trees))
    sizes: dict[str, TreeSize] = {}
    for root in roots:
        _measure(root, trees, sizes, limits)
    return sizes


def _parse(name: str, output: BinaryIO, hash_bytes: int) -> _Tree:
    words = output.readline().split()
    if len(words) != 3 or words[0].decode() != name or words[1] != b"tree":
        raise RelayError("The agent's work is incomplete: a folder is missing.")
    data = output.read(int(words[2]))
    output.read(1)
    at, files, longest, folders = 0, 0, 0, []
    while at < len(data):
        space, end = data.index(b" ", at), data.index(b"\0", at)
        length = end - space - 1
        if length > _LONGEST_NAME:
            raise RelayError(f"The agent's work has a file name of {length} bytes; {_LONGEST_NAME} are allowed.")
        if data[at:space] in (b"40000", b"040000"):
            folders.append((length, data[end + 1 : end + 1 + hash_bytes].hex()))
        else:
            files, longest = files + 1, max(longest, length)
        at = end + 1 + hash_bytes
    return _Tree(files, longest, tuple(folders))


def _measure(root: str, trees: dict[str, _Tree], sizes: dict[str, TreeSize], limits: Limits) -> None:
    waiting = [root]
    while waiting:
        name = waiting[-1]
        missing = [sub for _, sub in trees[name].folders if sub not in sizes]
        if missing:
            waiting += missing
            if len(waiting) > len(trees) + sum(len(tree.folders) for tree in trees.values()):
                raise RelayError("The agent's folders contain themselves.")
            continue
        waiting.pop()
        if name in sizes:
            continue
        tree = trees[name]
        below = [(length, sizes[sub]) for length, sub in tree.folders]
        sizes[name] = TreeSize(
            files=tree.files + sum(size.files for _, size in below),
            depth=1 + max((size.depth for _, size in below), default=0),
            path_bytes=max([tree.longest, *(length + 1 + size.path_bytes for length, size in below)]),
        )
        if sizes[name].depth > limits.depth:
            raise RelayError(f"The agent's work has more than {limits.depth} folders within folders.")
