"""The page of `seatrial canary report` in a real browser: narrow and wide, light and dark, and on paper."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

image = pytest.importorskip("PIL.Image", reason="install with: pip install 'seatrial[vision]'")
pytest.importorskip("jinja2", reason="install with: pip install 'seatrial[canary]'")

from seatrial.canary.page import render_html  # noqa: E402
from tests.unit.canary.page_examples import judged, rich  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAPER = {"light": (255, 255, 255), "dark": (15, 19, 24)}
LONG = "a-model-with-a-name-that-never-ends-" * 6
# A window cannot be narrower than 500 pixels everywhere; a frame can.
MEASURE = """<!doctype html><style>iframe { border: 0; width: {width}px; height: 900px }</style>
<body><iframe srcdoc="{page}"></iframe><pre id=measured></pre><script>
addEventListener("load", () => {
  const frame = document.querySelector("iframe"), root = frame.contentDocument;
  root.querySelectorAll("details").forEach(d => d.open = true);
  const isCut = e => e.parentElement && e.parentElement.closest(".wide, .strip .name, .unseen");
  const beyond = [...root.querySelectorAll("body *")].filter(e => {
    const box = e.getBoundingClientRect();
    return !isCut(e) && box.width > 0 && (box.right > frame.clientWidth + 1 || box.left < -1);
  }).map(e => `${e.tagName}.${e.getAttribute("class") || ""} ${e.textContent.slice(0, 40)}`);
  const squeezed = [...root.querySelectorAll("td, th")].map(e => [e.getBoundingClientRect(), e.textContent])
    .filter(([box, words]) => words.length > 3 && box.width > 1 && box.width < 32).map(([, words]) => words);
  const sheet = {squeezed, width: frame.contentWindow.innerWidth, scroll: root.documentElement.scrollWidth, beyond};
  frame.remove();
  document.getElementById("measured").textContent = JSON.stringify(sheet);
});
</script></body>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium browser")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not pytest's own folder: a confined browser may see the ordinary temporary one only.
    with tempfile.TemporaryDirectory(prefix="seatrial-page-") as made:
        yield Path(made)


def browse(folder: Path, page: str, *options: str) -> str:
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    assert CHROMIUM is not None
    ordinary = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
    done = subprocess.run(
        [CHROMIUM, *ordinary, f"--user-data-dir={folder / 'profile'}", *options, file.as_uri()],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_is_drawn_within_its_width_in_both_schemes(folder: Path, width: int, scheme: str) -> None:
    target = folder / f"{scheme}-{width}.png"
    chosen = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    browse(folder, render_html(rich()), chosen, f"--window-size={width},4000", f"--screenshot={target}")
    with image.open(target) as opened:
        drawn = opened.convert("RGB")
    assert drawn.width == width
    edge = drawn.crop((width - 8, 0, width, drawn.height))
    assert edge.getcolors() == [(8 * drawn.height, PAPER[scheme])]  # nothing reaches beyond the margin
    middle = drawn.crop((12, 0, width - 12, 1000))
    colours = middle.getcolors(maxcolors=1 << 24)
    assert colours is not None and len(colours) > 100
    paper = max(count for count, colour in colours if colour == PAPER[scheme])
    assert paper < 0.97 * middle.width * middle.height  # something stands on it


def with_long_names() -> dict[str, Any]:
    made = rich()
    for entry in [*made["values"], *made["labels"]]:
        entry["value"] = LONG
    made["window"]["project"] = LONG
    return made


@pytest.mark.parametrize("width", [360, 760, 1440])
@pytest.mark.parametrize("name", ["rich", "long", "INCONCLUSIVE", "empty"])
def test_nothing_is_wider_than_the_window(folder: Path, name: str, width: int) -> None:
    made = {"rich": rich, "long": with_long_names}.get(name, lambda: judged(name))()
    page = html.escape(render_html(made))
    harness = MEASURE.replace("{width}", str(width)).replace("{page}", page)
    document = browse(folder, harness, "--window-size=1600,900", "--dump-dom")
    found = re.search(r'<pre id="measured">(.*?)</pre>', document, re.DOTALL)
    assert found is not None
    measured = json.loads(html.unescape(found.group(1)))
    assert measured == {"squeezed": [], "width": width, "scroll": width, "beyond": []}


def test_the_page_can_be_printed(folder: Path) -> None:
    target = folder / "page.pdf"
    browse(folder, render_html(rich()), "--no-pdf-header-footer", f"--print-to-pdf={target}")
    reader = pytest.importorskip("pypdfium2", reason="install with: pip install 'seatrial[vision]'")
    document = reader.PdfDocument(target)
    try:
        texts = [document[number].get_textpage().get_text_range() for number in range(len(document))]
    finally:
        document.close()
    assert 2 <= len(texts) <= 12
    assert "REGRESSED" in texts[0] and "180 sessions" in texts[0]
    assert "project-0" in "".join(texts)  # what is folded on a screen is on the paper
