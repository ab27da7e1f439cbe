"""Messages to a prompt: chat template, picture and clip expansion, token ids.

Source of the rules: transformers 5.23, `processing_smolvlm.py`.  A part of a message is text (str),
a picture (`Tiles`) or a clip (`Clip`).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jinja2
import jinja2.ext
import jinja2.sandbox
import numpy as np
from numpy.typing import NDArray

from seatrial.errors import ModelError, PromptError, TokenizerError
from seatrial.vision.config import ModelConfig
from seatrial.vision.pictures import Tiles
from seatrial.vision.tokenizer import Piece, Tokenizer
from seatrial.vision.video import Clip

Part = str | Tiles | Clip

IMAGE = "<image>"
VIDEO = "<video>"
_FAKE = "<fake_token_around_image>"
_GLOBAL = "<global-img>"
_ROLES = ("system", "user", "assistant")

DEFAULT_TEMPLATE = (
    "<|im_start|>{% for m in messages %}{{ m.role | capitalize }}"
    "{{ ':' if m.content[0].type == 'image' else ': ' }}"
    "{% for c in m.content %}"
    "{{ c.text if c.type == 'text' else '<' ~ c.type ~ '>' }}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""Used when a checkpoint has no template, and whenever a clip is present (as the reference does)."""


@dataclass(frozen=True)
class Message:
    """One turn: `role` is system, user or assistant; `parts` in the order they are shown."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Medium:
    """A picture or clip in a prompt: `tiles` of them, (rows, cols) of its grid, `size` (width, height) in pixels.

    A picture in one tile has the grid (0, 0); a clip has (frames, 1).
    """

    kind: Literal["picture", "clip"]
    rows: int
    cols: int
    tiles: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Prompt:
    """What enters the model.

    `ids` [S] with one image id per picture token; `tiles` [n, tile, tile, 3] uint8 in the order of
    those ids; `media` in the same order.
    """

    text: str
    ids: list[int]
    tiles: NDArray[np.uint8]
    media: list[Medium]

    @property
    def grids(self) -> list[tuple[int, int]]:
        """(rows, cols) of each picture or clip."""
        return [(medium.rows, medium.cols) for medium in self.media]


def build_prompt(messages: Sequence[Message], config: ModelConfig, tokenizer: Tokenizer) -> Prompt:
    """Expand `messages` and encode them, ready for the assistant's answer.

    Raises PromptError for empty or malformed messages, TokenizerError when the tokenizer lacks the
    image token, ModelError when the chat template fails.
    """
    if tokenizer.control_id(IMAGE) != config.image_token_id:
        raise TokenizerError(
            f"{tokenizer.file} gives {IMAGE} the id {tokenizer.control_id(IMAGE)}, config.json says"
            f" {config.image_token_id}.",
            hint="The tokenizer does not belong to this model.",
        )
    media = _media(messages)
    pieces = _expand(_render(messages, config), media, config.tokens_per_tile)
    side = config.picture.tile
    return Prompt(
        text="".join(text for text, _ in pieces),
        ids=tokenizer.encode(pieces),
        tiles=np.concatenate([m.pixels for m in media]) if media else np.empty((0, side, side, 3), np.uint8),
        media=[_described(medium) for medium in media],
    )


def _described(medium: Tiles | Clip) -> Medium:
    count = len(medium.pixels)
    if isinstance(medium, Clip):
        return Medium("clip", count, 1, count, medium.size)
    return Medium("picture", medium.rows, medium.cols, count, medium.size)


def expand_picture(picture: Tiles, tokens_per_tile: int) -> str:
    """Return the text that stands for a picture: one marked run of image tokens for each tile."""
    run = IMAGE * tokens_per_tile
    rows = "".join(
        "".join(f"{_FAKE}<row_{row + 1}_col_{col + 1}>{run}" for col in range(picture.cols)) + "\n"
        for row in range(picture.rows)
    )
    return f"{rows}{chr(10) if rows else ''}{_FAKE}{_GLOBAL}{run}{_FAKE}"


def expand_clip(clip: Clip, tokens_per_tile: int) -> str:
    """Return the text that stands for a clip: an introduction, then each frame after its time."""
    duration = datetime.timedelta(seconds=int(clip.duration))
    frame = f"{_FAKE}{_GLOBAL}{IMAGE * tokens_per_tile}{_FAKE}"
    frames = "".join(f"\nFrame from {int(t // 60):02d}:{int(t % 60):02d}:{frame}" for t in clip.timestamps)
    return (
        f"You are provided the following series of {in_words(len(clip.timestamps))} frames from a {duration}"
        f" [H:MM:SS] video.\n{frames}\n\n"
    )


def in_words(number: int) -> str:
    """Spell 0 … 999 in English, as num2words does; PromptError for other numbers."""
    small = (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
        " seventeen eighteen nineteen"
    ).split()
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()
    if not 0 <= number < 1000:
        raise PromptError(f"{number} frames are more than can be shown (999).")
    if number < 20:
        return small[number]
    if number < 100:
        return tens[number // 10 - 2] + (f"-{small[number % 10]}" if number % 10 else "")
    rest = f" and {in_words(number % 100)}" if number % 100 else ""
    return f"{small[number // 100]} hundred{rest}"


def _media(messages: Sequence[Message]) -> list[Tiles | Clip]:
    return [part for message in messages for part in message.parts if not isinstance(part, str)]


def _render(messages: Sequence[Message], config: ModelConfig) -> list[Piece]:
    """Fill in the template with stand-ins for user text, then put the text back marked untrusted."""
    texts: list[str] = []
    shown = []
    for message in messages:
        if message.role not in _ROLES:
            raise PromptError(f"Unknown role {message.role!r}.", hint=f"Roles: {', '.join(_ROLES)}.")
        content: list[dict[str, str]] = []
        for part in message.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": f"\ue000{len(texts)}\ue001"})
                texts.append(part)
            else:
                content.append({"type": "image" if isinstance(part, Tiles) else "video"})
        if not content:
            raise PromptError(f"A {message.role} message is empty.")
        shown.append({"role": message.role, "content": content})
    if not shown:
        raise PromptError("There are no messages.")
    has_clip = any(isinstance(part, Clip) for part in _media(messages))
    template = DEFAULT_TEMPLATE if has_clip or config.chat_template is None else config.chat_template
    try:
        rendered = _compiled(template).render(
            messages=shown,
            add_generation_prompt=True,
            bos_token="<|im_start|>",
            eos_token="<end_of_utterance>",
        )
    except jinja2.TemplateError as problem:
        raise ModelError(f"The model's chat template fails: {problem}.") from problem
    pieces: list[Piece] = []
    for chunk in rendered.split("\ue000"):
        number, mark, rest = chunk.partition("\ue001")
        if mark:
            pieces.append((texts[int(number)], False))
        pieces.append((rest if mark else chunk, True))
    return pieces


def _expand(pieces: Sequence[Piece], media: Sequence[Tiles | Clip], tokens_per_tile: int) -> list[Piece]:
    """Replace the placeholders in trusted pieces by the media, in order."""
    left = list(media)
    expanded: list[Piece] = []
    for text, trusted in pieces:
        if trusted:
            parts = text.replace(VIDEO, IMAGE).split(IMAGE)
            for part in parts[1:]:
                if not left:
                    raise ModelError("The model's chat template shows more pictures than were given.")
                medium = left.pop(0)
                if isinstance(medium, Clip):
                    parts[0] += expand_clip(medium, tokens_per_tile) + part
                else:
                    parts[0] += expand_picture(medium, tokens_per_tile) + part
            text = parts[0]
        if text:
            expanded.append((text, trusted))
    if left:
        raise ModelError(f"The model's chat template leaves out {len(left)} of {len(media)} pictures.")
    return expanded


@lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(value: Any, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=False, **options)

    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment.from_string(template)
