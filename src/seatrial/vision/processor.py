"""From what a user hands in (files, pictures, chat messages) to a `Prompt`; no weights needed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from seatrial.errors import InputFileError, PromptError
from seatrial.settings import SeeSettings
from seatrial.vision import documents, pictures, video
from seatrial.vision.config import ModelConfig, load_config
from seatrial.vision.detail import Detail, parse_detail
from seatrial.vision.files import ModelFiles, open_files
from seatrial.vision.pictures import Source
from seatrial.vision.prompt import Message, Part, Prompt, build_prompt
from seatrial.vision.tokenizer import Tokenizer

Kind = Literal["picture", "document", "video"]
_HEAD_BYTES = 1024
_SINGLE = (str, Path, bytes, np.ndarray, Image.Image)
_PICTURE_BRANDS = (b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix")


@dataclass(frozen=True)
class Reading:
    """How files are read: limits, PDF pages and resolution, whether a GIF plays as a clip, and how many tiles
    pictures get (see `detail.py`)."""

    max_pixels: int = SeeSettings.max_pixels
    max_pages: int = SeeSettings.max_pages
    dpi: int = SeeSettings.pdf_dpi
    pages: str | None = None
    gif_as_video: bool = False
    detail: Detail = "high"


class Processor:
    """Configuration and tokenizer of a checkpoint: everything up to the numbers."""

    def __init__(
        self, source: Path | ModelFiles, reading: Reading | None = None, *, mmproj: Path | None = None
    ) -> None:
        """Read a checkpoint folder or GGUF file; ModelError or TokenizerError when it is not usable.

        `mmproj` names the file with the picture tower of a GGUF model that does not lie beside it.
        """
        self.files = open_files(source, mmproj)
        self.config: ModelConfig = load_config(self.files)
        self.tokenizer = Tokenizer(self.files)
        self.reading = reading or Reading()

    def question(
        self,
        sources: Source | Sequence[Source],
        question: str,
        *,
        system: str | None = None,
        detail: Detail | None = None,
    ) -> Prompt:
        """Return the prompt of one question after the media of `sources`, in their order."""
        return self.questions(sources, [question], system=system, detail=detail)[0]

    def questions(
        self,
        sources: Source | Sequence[Source],
        questions: Sequence[str],
        *,
        system: str | None = None,
        detail: Detail | None = None,
    ) -> list[Prompt]:
        """Return a prompt for each of `questions` about the same `sources`, which are read once.

        `detail` goes before that of `reading`.
        """
        given: Sequence[Source] = [sources] if isinstance(sources, _SINGLE) else sources
        parts: list[Part] = [part for source in given for part in self.parts(source, detail=detail)]
        first = [Message("system", (system,))] if system else []
        return [
            build_prompt([*first, Message("user", (*parts, question))], self.config, self.tokenizer)
            for question in questions
        ]

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> Prompt:
        """Return the prompt of OpenAI-style messages: {"role", "content": text or list of parts}.

        Parts: {"type": "text", "text"}, {"type": "image" | "video", "image" | "video": source}, and
        {"type": "image_url" | "video_url", …: {"url": path, file:// or data: URL, "detail": "low"…}}.
        Raises PromptError for anything else.
        """
        return build_prompt([self._message(message) for message in messages], self.config, self.tokenizer)

    def parts(self, source: Source, *, as_video: bool = False, detail: Detail | None = None) -> Iterator[Part]:
        """Yield the pictures (pages) or the clip in `source`; InputFileError names what is wrong."""
        reading, config = self.reading, self.config.picture
        if not isinstance(source, str | Path | bytes):
            images = pictures.load(source, max_pixels=reading.max_pixels, max_pages=reading.max_pages)
        else:
            kind = "video" if as_video else kind_of(source, gif_as_video=reading.gif_as_video)
            if kind == "video":
                yield video.load_clip(source, config, max_pixels=reading.max_pixels)
                return
            if kind == "document":
                images = documents.load_pages(
                    source,
                    dpi=reading.dpi,
                    pages=reading.pages,
                    max_pages=reading.max_pages,
                    max_pixels=reading.max_pixels,
                )
            else:
                images = pictures.load(source, max_pixels=reading.max_pixels, max_pages=reading.max_pages)
        for image in images:
            yield pictures.cut(image, config, detail or reading.detail)

    def _message(self, message: Mapping[str, Any]) -> Message:
        try:
            role, content = message["role"], message["content"]
        except (KeyError, TypeError):
            raise PromptError('A message must have "role" and "content".') from None
        # The reference's template silently drops plain strings; a string means one text part.
        items = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(items, Sequence):
            raise PromptError('"content" must be text or a list of parts.')
        return Message(str(role), tuple(part for item in items for part in self._part(item)))

    def _part(self, item: Mapping[str, Any]) -> Iterator[Part]:
        kind = item.get("type") if isinstance(item, Mapping) else None
        if kind == "text" and isinstance(item.get("text"), str):
            yield item["text"]
        elif kind in ("image", "video") and item.get(kind) is not None:
            yield from self.parts(item[kind], as_video=kind == "video")
        elif kind in ("image_url", "video_url") and isinstance(item.get(kind), Mapping):
            source = _from_url(str(item[kind].get("url", "")))
            wanted = item[kind].get("detail")
            detail = None if wanted is None else parse_detail(str(wanted))
            yield from self.parts(source, as_video=kind == "video_url", detail=detail)
        else:
            raise PromptError(
                f"A message part is malformed: {str(item)[:80]!r}.",
                hint='Parts: {"type": "text", "text": …}, {"type": "image", "image": file}, {"type": "video", …}.',
            )


def kind_of(source: str | Path | bytes, *, gif_as_video: bool = False) -> Kind:
    """Tell a picture, a document and a video apart by their first bytes, not by their name.

    Raises InputFileError when the file cannot be read.
    """
    if isinstance(source, bytes):
        head = source[:_HEAD_BYTES]
    else:
        path = pictures.local_path(source)
        try:
            with path.open("rb") as stream:
                head = stream.read(_HEAD_BYTES)
        except IsADirectoryError:
            raise InputFileError(f"{path} is a folder, not a file.", hint="Name the files in it.", path=path) from None
        except OSError as problem:
            raise InputFileError(f"{path} cannot be read: {problem.strerror}.", path=path) from problem
    if b"%PDF-" in head:
        return "document"
    iso_media = head[4:8] == b"ftyp" and head[8:12] not in _PICTURE_BRANDS
    matroska = head[:4] == b"\x1a\x45\xdf\xa3"
    avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    mpeg = head[:4] in (b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3") or (head[:1] == b"G" and head[188:189] == b"G")
    other = head[:4] in (b"OggS", b"FLV\x01", b"\x30\x26\xb2\x75") or head[4:8] in (b"moov", b"mdat")
    if iso_media or matroska or avi or mpeg or other or (gif_as_video and head[:4] == b"GIF8"):
        return "video"
    return "picture"


def _from_url(url: str) -> str | bytes:
    if not url.startswith("data:"):
        return url
    header, _, payload = url.partition(",")
    if not header.endswith(";base64"):
        raise PromptError("A data: URL must be base64.")
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error as problem:
        raise PromptError(f"A data: URL is not valid base64: {problem}.") from problem
