"""Documents: pages of a PDF rendered to pictures by pdfium."""

from __future__ import annotations

from pathlib import Path

import pypdfium2 as pdfium
from PIL import Image

from seatrial.errors import DocumentError
from seatrial.vision.pictures import read_source

_POINTS_PER_INCH = 72


def parse_pages(text: str) -> list[tuple[int, int]]:
    """Parse `1-3,7,10-` into (first, last) pairs, 1-based, last 0 for "to the end"; DocumentError if malformed."""
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or int(first) < 1:
            raise DocumentError(f"{part.strip()!r} is not a page range.", hint="Write pages as 1-3,7,10-.")
        end = int(last) if last else (0 if dash else int(first))
        if end and end < int(first):
            raise DocumentError(f"The page range {part.strip()!r} is upside down.", hint="Write pages as 1-3,7,10-.")
        ranges.append((int(first), end))
    return ranges


def load_pages(
    source: str | Path | bytes, *, dpi: int, pages: str | None, max_pages: int, max_pixels: int
) -> list[Image.Image]:
    """Render pages of a PDF to RGB pictures at `dpi`.

    `pages` chooses them (see `parse_pages`); without it all are taken, at most `max_pages`.  Raises
    DocumentError: not a PDF, damaged, encrypted, page out of range, too many pages, page above
    `max_pixels`.
    """
    content, name = read_source(source)
    ranges = parse_pages(pages) if pages else [(1, 0)]
    try:
        document = pdfium.PdfDocument(content)
    except pdfium.PdfiumError as problem:
        if "password" in str(problem).lower():
            raise DocumentError(
                f"{name} is encrypted.", hint="Remove the password first (qpdf --decrypt)."
            ) from problem
        raise DocumentError(f"{name} is not a readable PDF: it is damaged or of another kind.") from problem
    try:
        return [
            _render(document, number, name, dpi, max_pixels)
            for number in _chosen(ranges, len(document), name, max_pages, pages is not None)
        ]
    finally:
        document.close()


def _chosen(ranges: list[tuple[int, int]], count: int, name: str, max_pages: int, named: bool) -> list[int]:
    if count == 0:
        raise DocumentError(f"{name} has no pages.")
    numbers: list[int] = []
    for first, last in ranges:
        if max(first, last) > count:
            raise DocumentError(f"{name} has {count} pages; page {max(first, last)} does not exist.")
        numbers.extend(range(first, (last or count) + 1))
    if len(numbers) > max_pages and not named:
        raise DocumentError(
            f"{name} has {count} pages, more than {max_pages}.", hint=f"Choose some: --pages 1-{max_pages}."
        )
    return numbers


def _render(document: pdfium.PdfDocument, number: int, name: str, dpi: int, max_pixels: int) -> Image.Image:
    try:
        page = document[number - 1]
        width, height = (round(points * dpi / _POINTS_PER_INCH) for points in page.get_size())
        if width * height > max_pixels:
            raise DocumentError(
                f"Page {number} of {name} would be {width} × {height} pixels at {dpi} dpi, above the limit of"
                f" {max_pixels:,}.",
                hint="Lower --dpi, or raise --max-pixels.",
            )
        image: Image.Image = page.render(scale=dpi / _POINTS_PER_INCH).to_pil().convert("RGB")
        page.close()
    except (pdfium.PdfiumError, ValueError, MemoryError) as problem:
        raise DocumentError(f"Page {number} of {name} cannot be rendered: {problem}.") from problem
    return image
