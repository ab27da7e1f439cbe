"""The page of a report in a real browser: narrow and wide, light and dark."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

image = pytest.importorskip("PIL.Image", reason="install with: pip install 'seatrial[vision]'")
pytest.importorskip("jinja2", reason="install with: pip install 'seatrial[database]'")

from seatrial.database.effect.page import render_html  # noqa: E402
from tests.unit.database.effect_example import example  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAPER = {"light": (255, 255, 255), "dark": (15, 19, 24)}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not pytest's own folder: a confined browser may see the ordinary temporary one only.
    with tempfile.TemporaryDirectory(prefix="seatrial-page-") as made:
        yield Path(made)


def picture(folder: Path, width: int, scheme: str) -> image.Image:
    page, target = folder / "page.html", folder / f"{scheme}-{width}.png"
    page.write_text(render_html(example(), title="Proposal 7", facts={"Author": "agent-3", "Plan hash": "9f" * 32}))
    assert CHROMIUM is not None
    subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
            f"--window-size={width},2400",
            f"--screenshot={target}",
            page.as_uri(),
        ],
        check=True,
        capture_output=True,
    )
    with image.open(target) as opened:
        return opened.convert("RGB")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium browser")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_is_drawn_within_its_width_in_both_schemes(folder: Path, width: int, scheme: str) -> None:
    drawn = picture(folder, width, scheme)
    assert drawn.width == width
    edge = drawn.crop((width - 8, 0, width, drawn.height))
    assert edge.getcolors() == [(8 * drawn.height, PAPER[scheme])]  # nothing reaches beyond the margin
    middle = drawn.crop((12, 0, width - 12, 1000))
    colours = middle.getcolors(maxcolors=1 << 24)
    assert colours is not None and len(colours) > 100
    paper = max(count for count, colour in colours if colour == PAPER[scheme])
    assert paper < 0.97 * middle.width * middle.height  # something stands on it
