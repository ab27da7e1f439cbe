"""Which typefaces the pages are set in, and which of them the training never sees.

The faces come from Debian packages (``apt-get install`` with :data:`PACKAGES`); no font file is part of
this repository. Faces that share a design (Liberation and Croscore, Lato and Carlito) are on the same
side of the split, so a held-out face is a design that training has not shown.
"""

from __future__ import annotations

import functools
import os
import random
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont

PACKAGES = [
    "fonts-dejavu-core",
    "fonts-dejavu-extra",
    "fonts-liberation2",
    "fonts-roboto-unhinted",
    "fonts-open-sans",
    "fonts-lato",
    "fonts-inconsolata",
    "fonts-courier-prime",
    "fonts-hack",
    "fonts-firacode",
    "fonts-cantarell",
    "fonts-comfortaa",
    "fonts-croscore",
    "fonts-crosextra-carlito",
    "fonts-crosextra-caladea",
    "fonts-ebgaramond",
    "fonts-jetbrains-mono",
    "fonts-oxygen",
    "fonts-quicksand",
    "fonts-texgyre",
    "fonts-anonymous-pro",
    "fonts-sil-andika",
    "fonts-sil-charis",
    "fonts-vollkorn",
    "fonts-dosis",
    "fonts-noto-mono",
    "fonts-cmu",
    "fonts-lmodern",
    "fonts-sil-doulos",
    "fonts-hermit",
    "fonts-play",
    "fonts-yanone-kaffeesatz",
    "fonts-junicode",
    "fonts-gfs-didot",
    "fonts-linuxlibertine",
    "fonts-mplus",
    "fonts-league-spartan",
]

DEFAULT_ROOTS = "/usr/share/fonts:/usr/share/texmf/fonts"


@dataclass(frozen=True)
class Face:
    """A regular and a bold font file of one design, and what it is good for."""

    regular: str
    bold: str
    kind: str  # "sans", "serif" or "mono"


TRAIN = (
    Face("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "sans"),
    Face("DejaVuSansCondensed.ttf", "DejaVuSansCondensed-Bold.ttf", "sans"),
    Face("LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf", "sans"),
    Face("Arimo-Regular.ttf", "Arimo-Bold.ttf", "sans"),
    Face("Roboto-Regular.ttf", "Roboto-Bold.ttf", "sans"),
    Face("Roboto-Medium.ttf", "Roboto-Black.ttf", "sans"),
    Face("RobotoCondensed-Regular.ttf", "RobotoCondensed-Bold.ttf", "sans"),
    Face("Lato-Regular.ttf", "Lato-Bold.ttf", "sans"),
    Face("Lato-Medium.ttf", "Lato-Heavy.ttf", "sans"),
    Face("Carlito-Regular.ttf", "Carlito-Bold.ttf", "sans"),
    Face("Cantarell-Regular.otf", "Cantarell-Bold.otf", "sans"),
    Face("Comfortaa-Regular.ttf", "Comfortaa-Bold.ttf", "sans"),
    Face("Quicksand-Medium.ttf", "Quicksand-Bold.ttf", "sans"),
    Face("Andika-Regular.ttf", "Andika-Bold.ttf", "sans"),
    Face("Dosis-Medium.otf", "Dosis-Bold.otf", "sans"),
    Face("texgyreadventor-regular.otf", "texgyreadventor-bold.otf", "sans"),
    Face("texgyreheros-regular.otf", "texgyreheros-bold.otf", "sans"),
    Face("DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "serif"),
    Face("DejaVuSerifCondensed.ttf", "DejaVuSerifCondensed-Bold.ttf", "serif"),
    Face("LiberationSerif-Regular.ttf", "LiberationSerif-Bold.ttf", "serif"),
    Face("Tinos-Regular.ttf", "Tinos-Bold.ttf", "serif"),
    Face("Caladea-Regular.ttf", "Caladea-Bold.ttf", "serif"),
    Face("EBGaramond12-Regular.otf", "EBGaramond12-Bold.otf", "serif"),
    Face("CharisSIL-Regular.ttf", "CharisSIL-Bold.ttf", "serif"),
    Face("texgyrebonum-regular.otf", "texgyrebonum-bold.otf", "serif"),
    Face("texgyrepagella-regular.otf", "texgyrepagella-bold.otf", "serif"),
    Face("texgyreschola-regular.otf", "texgyreschola-bold.otf", "serif"),
    Face("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf", "mono"),
    Face("LiberationMono-Regular.ttf", "LiberationMono-Bold.ttf", "mono"),
    Face("Cousine-Regular.ttf", "Cousine-Bold.ttf", "mono"),
    Face("Hack-Regular.ttf", "Hack-Bold.ttf", "mono"),
    Face("FiraCode-Regular.ttf", "FiraCode-Bold.ttf", "mono"),
    Face("Inconsolata.otf", "Inconsolata.otf", "mono"),
    Face("Anonymous Pro.ttf", "Anonymous Pro B.ttf", "mono"),
    Face("NotoMono-Regular.ttf", "NotoMono-Regular.ttf", "mono"),
    Face("texgyrecursor-bold.otf", "texgyrecursor-bold.otf", "mono"),
    Face("Roboto-Light.ttf", "Roboto-Medium.ttf", "sans"),
    Face("Play-Regular.ttf", "Play-Bold.ttf", "sans"),
    Face("LinBiolinum_R.otf", "LinBiolinum_RB.otf", "sans"),
    Face("LeagueSpartan-Regular.otf", "LeagueSpartan-Bold.otf", "sans"),
    Face("Mplus1-Regular.otf", "Mplus1-Bold.otf", "sans"),
    Face("Mplus2-Medium.otf", "Mplus2-Bold.otf", "sans"),
    Face("YanoneKaffeesatz-Regular.otf", "YanoneKaffeesatz-Bold.otf", "sans"),
    Face("cmunss.ttf", "cmunsx.ttf", "sans"),
    Face("texgyreheroscn-regular.otf", "texgyreheroscn-bold.otf", "sans"),
    Face("LinLibertine_R.otf", "LinLibertine_RB.otf", "serif"),
    Face("GFSDidot.otf", "GFSDidotBold.otf", "serif"),
    Face("JunicodeTwoBeta-Regular.otf", "JunicodeTwoBeta-Bold.otf", "serif"),
    Face("JunicodeTwoBeta-SemiExpanded.otf", "JunicodeTwoBeta-SemiExpandedBold.otf", "serif"),
    Face("DoulosSIL-Regular.ttf", "DoulosSIL-Regular.ttf", "serif"),
    Face("lmroman10-regular.otf", "lmroman10-bold.otf", "serif"),
    Face("cmunrm.ttf", "cmunbx.ttf", "serif"),
    Face("texgyretermes-regular.otf", "texgyretermes-bold.otf", "serif"),
    Face("lmmono10-regular.otf", "lmmonolt10-bold.otf", "mono"),
    Face("cmuntt.ttf", "cmuntb.ttf", "mono"),
    Face("Hermit-medium.otf", "Hermit-bold.otf", "mono"),
    Face("Mplus1Code-Regular.otf", "Mplus1Code-Bold.otf", "mono"),
    Face("MplusCode50-Medium.otf", "MplusCode50-Bold.otf", "mono"),
    Face("FiraCode-Medium.ttf", "FiraCode-SemiBold.ttf", "mono"),
    Face("texgyrecursor-regular.otf", "texgyrecursor-bold.otf", "mono"),
)

HELD_OUT = (
    Face("OpenSans-Regular.ttf", "OpenSans-Bold.ttf", "sans"),
    Face("OpenSans-Semibold.ttf", "OpenSans-ExtraBold.ttf", "sans"),
    Face("Oxygen-Sans.ttf", "Oxygen-Sans-Bold.ttf", "sans"),
    Face("Vollkorn-Regular.ttf", "Vollkorn-Bold.ttf", "serif"),
    Face("Courier Prime.otf", "Courier Prime Bold.otf", "mono"),
    Face("Courier Prime Sans.otf", "Courier Prime Sans Bold.otf", "mono"),
    Face("JetBrainsMono-Regular.ttf", "JetBrainsMono-Bold.ttf", "mono"),
)


def root() -> str:
    """The folders searched for font files; ``PICO_FONTS`` overrides the system's."""
    return os.environ.get("PICO_FONTS", DEFAULT_ROOTS)


@functools.cache
def _index(folders: str) -> dict[str, Path]:
    files = (path for folder in folders.split(":") for path in sorted(Path(folder).rglob("*")))
    return {path.name: path for path in files if path.suffix in (".ttf", ".otf")}


def missing() -> list[str]:
    """Names of font files that are not installed."""
    found = _index(root())
    return sorted({name for f in TRAIN + HELD_OUT for name in (f.regular, f.bold) if name not in found})


def choose(rng: random.Random, held_out: bool, kinds: tuple[str, ...] = ("sans", "serif", "mono")) -> Face:
    """One installed face of the wanted side of the split."""
    found = _index(root())
    faces = [f for f in (HELD_OUT if held_out else TRAIN) if f.kind in kinds and f.regular in found]
    if not faces:
        raise FileNotFoundError(f"no {kinds} faces under {root()}: apt-get install {' '.join(PACKAGES)}")
    return rng.choice(faces)


@functools.lru_cache(maxsize=2048)
def load(name: str, size: int) -> ImageFont.FreeTypeFont:
    """The font file ``name`` at ``size`` pixels."""
    return ImageFont.truetype(str(_index(root())[name]), size, layout_engine=ImageFont.Layout.BASIC)


if __name__ == "__main__":
    print(*PACKAGES)
