from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.errors import DocumentError, SeatrialError
from seatrial.vision import documents
from tests.golden.cases import picture

LIMITS = {"dpi": 72, "pages": None, "max_pages": 20, "max_pixels": 10**7}


def pdf(count: int = 3) -> bytes:
    stream = io.BytesIO()
    pages = [picture(72, 36, seed) for seed in range(count)]
    pages[0].save(stream, "PDF", save_all=True, append_images=pages[1:], resolution=72)
    return stream.getvalue()


def blank_pdf(count: int) -> bytes:
    """A PDF of empty pages, written by hand."""
    kids = " ".join(f"{number + 3} 0 R" for number in range(count))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {count} >>"]
    objects += ["<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] >>"] * count
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    trailer = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    return body + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


def load(source: bytes | str | Path, **changes: object) -> list:
    return documents.load_pages(source, **{**LIMITS, **changes})  # type: ignore[arg-type]


def test_all_pages_at_a_resolution() -> None:
    pages = load(pdf(), dpi=144)
    assert [page.size for page in pages] == [(144, 72)] * 3
    assert pages[0].mode == "RGB"


@pytest.mark.parametrize(("text", "chosen"), [("2", [1]), ("1-2", [0, 1]), ("3,1", [2, 0]), ("2-", [1, 2])])
def test_page_ranges(text: str, chosen: list[int]) -> None:
    pages, all_pages = load(pdf(), pages=text), load(pdf())
    same = [np.array_equal(np.asarray(a), np.asarray(all_pages[i])) for a, i in zip(pages, chosen, strict=True)]
    assert all(same)


@pytest.mark.parametrize("text", ["0", "a", "3-2", "1-x", "", ",", "-2"])
def test_malformed_ranges(text: str) -> None:
    with pytest.raises(DocumentError, match="range"):
        documents.parse_pages(text)


def test_page_that_does_not_exist() -> None:
    with pytest.raises(DocumentError, match="has 3 pages; page 7 does not exist"):
        load(pdf(), pages="7")


def test_three_thousand_pages_need_a_range() -> None:
    content = blank_pdf(3000)
    with pytest.raises(DocumentError, match="has 3000 pages, more than 20") as caught:
        load(content)
    assert caught.value.hint == "Choose some: --pages 1-20."
    assert len(load(content, pages="2999-")) == 2


def test_encrypted() -> None:
    # The standard security handler with a user password; only the marker matters to the reader.
    locked = blank_pdf(1).replace(
        b"/Root 1 0 R",
        b"/Root 1 0 R /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O (" + b"a" * 32 + b") /U (" + b"b" * 32 + b") >>"
        b" /ID [(1234567890123456) (1234567890123456)]",
    )
    with pytest.raises(DocumentError, match="is encrypted"):
        load(locked)


@pytest.mark.parametrize("keep", [5, 60, 200])
def test_truncated(keep: int) -> None:
    with pytest.raises(DocumentError):
        load(pdf()[:keep])


def test_huge_pages_are_refused() -> None:
    with pytest.raises(DocumentError, match="above the limit"):
        load(blank_pdf(1).replace(b"[0 0 72 72]", b"[0 0 14000 14000]"), dpi=300)


@settings(max_examples=150, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=10))
def test_fuzzed_documents_end_in_one_sentence(flips: list[tuple[int, int]]) -> None:
    raw = bytearray(blank_pdf(2))
    for position, value in flips:
        raw[position % len(raw)] = value
    try:
        load(bytes(raw))
    except SeatrialError as problem:
        assert "\n" not in problem.message
