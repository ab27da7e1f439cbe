"""Text to tokens and back, with one rule the reference lacks: user text never becomes a control token.

A prompt is a list of pieces, trusted (template, picture markers) or not (what a user wrote).  Control
tokens such as `<image>` or `<end_of_utterance>` are recognised in trusted pieces only; in user text
the same characters are spelled out as ordinary tokens.  Without such characters the ids equal the
reference's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer
from tokenizers.decoders import DecodeStream

from seatrial.errors import ModelError, TokenizerError
from seatrial.vision.files import ModelFiles, open_files

_NAME = "tokenizer.json"

Piece = tuple[str, bool]
"""(text, trusted)"""


class Tokenizer:
    """The `tokenizer.json` of a checkpoint."""

    def __init__(self, source: Path | ModelFiles) -> None:
        """Load the tokenizer of a checkpoint as `open_files` takes it; TokenizerError if missing or malformed."""
        files = open_files(source)
        self.file = files.where(_NAME)
        try:
            description = files.json(_NAME, required=True)
        except ModelError as problem:
            raise TokenizerError(problem.message, path=self.file) from problem
        try:
            added = {token["content"]: int(token["id"]) for token in description.get("added_tokens") or []}
            self._full = FastTokenizer.from_str(json.dumps(description))
            self._plain = FastTokenizer.from_str(json.dumps({**description, "added_tokens": []}))
        except Exception as problem:  # the tokenizers library raises bare Exception
            reason = (str(problem).splitlines() or [type(problem).__name__])[0]
            raise TokenizerError(f"{self.file} cannot be read: {reason}.", path=self.file) from problem
        for tokenizer in (self._full, self._plain):
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._control = added
        longest_first = sorted(map(re.escape, added), key=len, reverse=True)
        self._control_pattern = re.compile("|".join(longest_first)) if added else None

    def control_id(self, token: str) -> int | None:
        """Return the id of a control token written exactly so, or None."""
        return self._control.get(token)

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the ids of `pieces` joined, control tokens only where trusted."""
        ids: list[int] = []
        ordinary = ""
        for text, trusted in pieces:
            start = 0
            for match in self._control_pattern.finditer(text) if trusted and self._control_pattern else ():
                ids += self._encode_ordinary(ordinary + text[start : match.start()])
                ids.append(self._control[match.group()])
                ordinary, start = "", match.end()
            ordinary += text[start:]
        return ids + self._encode_ordinary(ordinary)

    def _encode_ordinary(self, text: str) -> list[int]:
        return list(self._plain.encode(text, add_special_tokens=False).ids) if text else []

    def decode(self, ids: Sequence[int], *, control: bool = False) -> str:
        """Return the text of `ids`; control tokens are shown only when asked for."""
        return str(self._full.decode(list(ids), skip_special_tokens=not control))

    def stream(self) -> TextStream:
        """Return a decoder for ids that arrive one by one."""
        return TextStream(self._full)


class TextStream:
    """Turns ids into text as they come; never emits half a character."""

    def __init__(self, tokenizer: FastTokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._text = ""

    def push(self, token_id: int) -> str:
        """Add one id; return the text that is certain now (may be empty)."""
        self._ids.append(token_id)
        piece = self._stream.step(self._tokenizer, token_id) or ""
        self._text += piece
        return piece

    def finish(self) -> str:
        """Return what is left; bytes that never became a character are shown as U+FFFD."""
        whole = str(self._tokenizer.decode(self._ids, skip_special_tokens=True))
        return whole[len(self._text) :] if whole.startswith(self._text) else ""
