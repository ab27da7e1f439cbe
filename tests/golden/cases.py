"""The golden cases: conversations over pictures of many shapes and modes, made from numbers only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tests.golden.checkpoints import uniform


@dataclass(frozen=True)
class Frames:
    """A clip already decoded: every frame of it, and its rate."""

    images: tuple[Image.Image, ...]
    fps: float


@dataclass(frozen=True)
class Case:
    """One conversation for one checkpoint; `turns` are (role, parts)."""

    name: str
    checkpoint: str
    turns: Callable[[], list[tuple[str, list[Any]]]]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return an RGB picture: a slanted gradient under coarse and fine noise."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], -1)
    noise = uniform(seed + 17, height * width * 3).reshape(height, width, 3) * 50
    blocks = uniform(seed + 23, 64).reshape(8, 8)[(y * 8 // height).clip(0, 7), (x * 8 // width).clip(0, 7)]
    return Image.fromarray((base + noise + blocks[..., None] * 60).clip(0, 255).astype(np.uint8))


def in_mode(mode: str) -> Image.Image:
    """Return a 120 × 90 picture in another Pillow mode."""
    rgb = picture(120, 90, 5)
    if mode == "I;16":
        return Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    if mode in ("RGBA", "LA"):
        alpha = Image.fromarray((uniform(99, 120 * 90).reshape(90, 120) * 127 + 128).astype(np.uint8))
        converted = rgb.convert(mode)
        converted.putalpha(alpha)
        return converted
    return rgb.convert(mode)


def one(image: Image.Image, question: str = "What is it?") -> Callable[[], list[tuple[str, list[Any]]]]:
    return lambda: [("user", [image, question])]


def clip(count: int, fps: float) -> Frames:
    return Frames(tuple(picture(96, 64, seed) for seed in range(count)), fps)


SIZES = [
    (512, 512), (224, 224), (640, 480), (480, 640), (300, 100), (100, 300), (1, 1), (2, 300), (300, 2), (1000, 31),
    (31, 1000), (129, 128), (127, 128), (513, 512), (85, 110), (333, 334), (700, 199), (60, 160), (60, 300), (80, 10),
]  # fmt: skip

FEW_SIZES = [(500, 500), (64, 48), (200, 100), (100, 400), (1, 300), (384, 384), (777, 333)]

MODES = ["L", "P", "RGBA", "LA", "CMYK", "I;16", "1", "HSV", "YCbCr"]


def all_cases() -> list[Case]:
    """Return every golden case, in a fixed order."""
    cases = [Case(f"size-{w}x{h}", "like-256m", one(picture(w, h))) for w, h in SIZES]
    cases += [Case(f"mode-{mode}", "like-256m", one(in_mode(mode))) for mode in MODES]
    for checkpoint in ("like-2.2b", "like-v1", "odd"):
        cases += [Case(f"{checkpoint}-{w}x{h}", checkpoint, one(picture(w, h, 3))) for w, h in FEW_SIZES]
    a, b = picture(200, 150, 1), picture(64, 200, 2)
    talks: dict[str, list[tuple[str, list[Any]]]] = {
        "text-only": [("user", ["How's it going?"])],
        "empty-text": [("user", [a, ""])],
        "text-first": [("user", ["Look: ", a, " What is it?"])],
        "picture-last": [("user", ["What is it?", a])],
        "two-pictures": [("user", [a, b, "What differs?"])],
        "between": [("user", [a, "or", b, "?"])],
        "system": [("system", ["You are brief."]), ("user", [a, "Why?"])],
        "two-turns": [("user", [a, "What?"]), ("assistant", ["A shop."]), ("user", ["And now?"])],
        "late-picture": [("user", ["Hello"]), ("assistant", ["Yes?"]), ("user", [b, "This?"])],
        "unicode": [("user", [a, "Größe 12 € naïve 日本語 🙂 \n\n tabs\t."])],
        "newlines": [("user", [a, "\n\nline\n  two  \n"])],
        "clip-1": [("user", [clip(1, 1.0), "What happens?"])],
        "clip-5": [("user", [clip(120, 24.0), "What happens?"])],
        "clip-odd-rate": [("user", [clip(100, 23.976), "How many?"])],
        "clip-text-first": [("user", ["Watch.", clip(30, 10.0), "What happens?"])],
    }
    for name, turns in talks.items():
        cases.append(Case(name, "like-256m", lambda turns=turns: turns))
    for name in ("text-only", "two-pictures", "two-turns", "clip-5"):
        cases.append(Case(f"v1-{name}", "like-v1", lambda turns=talks[name]: turns))
    return cases
