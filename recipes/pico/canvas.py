"""The sheet that layouts draw on, what it remembers, and how photographs of it go wrong."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from recipes.pico import fonts

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Question:
    """One question with its only right answer."""

    kind: str
    text: str
    answer: str


@dataclass
class Page:
    """A rendered picture (or the frames of a clip) with everything that is true about it."""

    family: str
    layout: str
    frames: list[Image.Image]
    questions: list[Question]
    transcript: str = ""
    clip: bool = False
    single: bool = False  # shown as one tile each, without splitting

    @property
    def image(self) -> Image.Image:
        """The first (usually only) picture."""
        return self.frames[0]


@dataclass
class Canvas:
    """An RGB sheet measured in model pixels and drawn ``scale`` times larger.

    A model pixel is a pixel after the processor's resize to the longest edge of 512; giving sizes in it
    keeps the text legible for the network whatever the size of the source picture.
    """

    width: float
    height: float
    scale: float
    face: fonts.Face
    paper: Colour = (255, 255, 255)
    ink: Colour = (20, 20, 20)
    _lines: list[tuple[float, float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.image = Image.new("RGB", (self._px(self.width), self._px(self.height)), self.paper)
        self.draw = ImageDraw.Draw(self.image)

    def _px(self, value: float) -> int:
        return max(1, round(value * self.scale))

    def measure(self, text: str, size: float, bold: bool = False) -> float:
        """Width of ``text`` in model pixels."""
        font = fonts.load(self.face.bold if bold else self.face.regular, self._px(size))
        return float(font.getlength(text)) / self.scale

    def fit(self, text: str, size: float, room: float, bold: bool = False) -> float:
        """The largest size up to ``size`` at which ``text`` is no wider than ``room``."""
        wide = self.measure(text, size, bold)
        return size if wide <= room else size * room / wide * 0.99

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        bold: bool = False,
        anchor: str = "la",
        ink: Colour | None = None,
        note: bool = True,
    ) -> float:
        """Write ``text`` with its top at ``y``; returns its width. ``note`` adds it to the transcript."""
        name = self.face.bold if bold else self.face.regular
        font = fonts.load(name, self._px(size))
        self.draw.text((self._px(x), self._px(y)), text, ink or self.ink, font=font, anchor=anchor)
        wide = float(font.getlength(text)) / self.scale
        left = x - wide * {"l": 0.0, "m": 0.5, "r": 1.0}[anchor[0]]
        if note:
            self._lines.append((y, left, text))
        return wide

    def rule(self, y: float, left: float, right: float, style: str = "solid", thick: float = 1.0) -> None:
        """A horizontal line: solid, dashed or double."""
        if style == "dashed":
            x = left
            while x < right:
                self.line(x, y, min(x + 4, right), y, thick)
                x += 8
            return
        self.line(left, y, right, y, thick)
        if style == "double":
            self.line(left, y + 3, right, y + 3, thick)

    def line(self, x0: float, y0: float, x1: float, y1: float, thick: float = 1.0, ink: Colour | None = None) -> None:
        """A straight line."""
        self.draw.line((self._px(x0), self._px(y0), self._px(x1), self._px(y1)), ink or self.ink, self._px(thick))

    def box(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        *,
        fill: Colour | None = None,
        outline: Colour | None = None,
        radius: float = 0.0,
        thick: float = 1.0,
    ) -> None:
        """A rectangle, rounded when ``radius`` is given."""
        corners = (self._px(x0), self._px(y0), self._px(x1), self._px(y1))
        self.draw.rounded_rectangle(
            corners, round(radius * self.scale), fill, outline, self._px(thick) if outline else 0
        )

    def transcript(self) -> str:
        """All noted text, rows from top to bottom, within a row from left to right."""
        rows: list[list[tuple[float, float, str]]] = []
        for item in sorted(self._lines):
            if rows and item[0] - rows[-1][0][0] < 5:
                rows[-1].append(item)
            else:
                rows.append([item])
        return "\n".join(" ".join(text for _, _, text in sorted(row, key=lambda i: i[1])) for row in rows)


def weather(image: Image.Image, rng: random.Random, strength: float = 0.7) -> Image.Image:
    """What scanning, photographing and compressing do to a page, in moderation."""
    if rng.random() < 0.25 * strength:
        image = image.rotate(rng.uniform(-2, 2), Image.Resampling.BILINEAR, fillcolor=image.getpixel((1, 1)))
    if rng.random() < 0.25 * strength:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.25 * strength:
        image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.55, 0.95))
    if rng.random() < 0.2 * strength:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.75, 1.05))
    if rng.random() < 0.15 * strength:
        factor = rng.uniform(0.6, 0.9)
        image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BILINEAR)
    if rng.random() < 0.35 * strength:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=rng.randint(40, 95))
        image = Image.open(buffer).convert("RGB")
    return image


def paper(rng: random.Random) -> Colour:
    """White most of the time, else a light tint."""
    if rng.random() < 0.6:
        return (255, 255, 255)
    return (rng.randint(225, 255), rng.randint(225, 255), rng.randint(215, 255))


def ink(rng: random.Random) -> Colour:
    """Black, dark grey or dark blue."""
    return rng.choice(((0, 0, 0), (20, 20, 20), (50, 50, 50), (20, 30, 80), (70, 70, 70)))
