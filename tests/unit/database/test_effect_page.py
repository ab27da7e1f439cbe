"""The page of a report: nothing loaded, nothing executed, everything from outside escaped."""

from __future__ import annotations

import dataclasses
import re

import pytest

pytest.importorskip("jinja2", reason="install with: pip install 'seatrial[database]'")

from seatrial.database.effect.page import render_html
from seatrial.database.effect.report import EffectReport, Failure
from seatrial.database.effect.sides import side_by_side
from seatrial.pages import shown
from tests.elements import Elements
from tests.unit.database.effect_example import example

HOSTILE = "<script>alert(1)</script>\"' onload='x' {{ 7 * 7 }}{% endraw %}</style></title>\u202e\x1b[2J&amp;"


def hostile(value: object) -> object:
    """Replace every text in a report by a hostile one, except the words that choose a form."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = {"outcome", "severity", "action"}
        return dataclasses.replace(
            value,
            **{f.name: hostile(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name not in kept},
        )
    if isinstance(value, tuple):
        return tuple(hostile(entry) for entry in value)
    return f"{HOSTILE}{value}" if isinstance(value, str) else value


def test_no_text_from_a_database_becomes_markup() -> None:
    report = hostile(dataclasses.replace(example(), failure=Failure(1, "no", "42P01", "hint", 1), outcome="failed"))
    assert isinstance(report, EffectReport)
    parsed = Elements(render_html(report, title=HOSTILE, facts={HOSTILE: HOSTILE}))
    plain = Elements(render_html(example(), title="x"))
    assert set(parsed.names) <= set(plain.names) | {"b"}
    assert {name for name, _ in parsed.attributes} <= {name for name, _ in plain.attributes}
    assert not {"script", "link", "img", "iframe"} & set(parsed.names)
    assert "49" not in "".join(parsed.text).replace("49.", "")  # 7 * 7 was not computed


def test_characters_that_cannot_be_seen_are_shown_by_their_number() -> None:
    assert shown("a\u202eb\tc\n") == 'a<b class="code">U+202E</b>b\tc\n'
    page = render_html(dataclasses.replace(example(), server="\u2066x"), title="\u202etitle")
    assert "\u202e" not in page and "\u2066" not in page


def test_the_page_loads_nothing() -> None:
    page = render_html(example())
    assert "default-src 'none'" in page
    assert all(target.startswith("#") for target in re.findall(r"\b(?:src|href)\s*=\s*\"?([^\s\">]*)", page))
    assert "url(" not in page and "@import" not in page


def test_every_fact_of_the_report_is_on_the_page() -> None:
    text = " ".join("".join(Elements(render_html(example(), facts={"Author": "agent-3"})).text).split())
    for wanted in (
        "3 hazards, 1 of them high",
        "DROPS_DATA",
        "Lost: 100,000 deleted rows of public.orders.",
        "ALTER TABLE users ALTER COLUMN id TYPE bigint",
        "rewrites public.users, public.users_pkey",
        "AccessExclusive",
        "Expand and contract",
        "Does not end in exactly the same schema.",
        "public.v_old",
        "AND NOT cancelled",
        "cost 12.5, 4 blocks → cost 4,123.0, 1,200 blocks",
        "The deleted rows cannot come back.",
        "46.0 MiB",
        "Times are of this copy",
        "agent-3",
    ):
        assert wanted in text, wanted


def test_a_failed_change_says_so_first() -> None:
    failure = Failure(2, 'relation "nowhere" does not exist', "42P01", "", 3)
    page = render_html(example(outcome="failed", failure=failure))
    assert page.index("Failed at statement 2 (line 3)") < page.index("<h2>")
    assert "SQLSTATE 42P01" in page


def test_an_empty_report_is_a_page() -> None:
    report = example(statements=(), hazards=(), findings=(), offers=(), changes=(), plans=(), sizes=(), notes=())
    text = "".join(Elements(render_html(report)).text)
    assert "no hazard found" in text
    assert "The schema is the same before and after." in text


def changed(side: tuple[object, ...] | None) -> str:
    return "".join(piece.text for piece in side or () if piece.is_changed)  # type: ignore[attr-defined]


def test_only_what_differs_is_marked() -> None:
    (pair,) = side_by_side("total integer NOT NULL", "total bigint NOT NULL")
    assert (changed(pair.before), changed(pair.after)) == ("integer", "bigint")


def test_lines_are_paired_with_those_they_resemble() -> None:
    pairs = side_by_side("begin\n  return a + b;\nend", "begin\n  -- why\n  return a + b + c;\nend")
    assert [pair.before is None for pair in pairs] == [False, True, False, False]
    assert changed(pairs[2].after) == " + c"


def test_both_sides_are_whole_whatever_they_are() -> None:
    texts = ("", "a", "a\nb\nc", "x\na\nq\nc\nlast", "b\n\nb\n")
    for one in texts:
        for other in texts:
            pairs = side_by_side(one, other)
            assert ["".join(p.text for p in x.before) for x in pairs if x.before is not None] == one.splitlines()
            assert ["".join(p.text for p in x.after) for x in pairs if x.after is not None] == other.splitlines()


def test_of_long_texts_it_says_how_much_is_left_out() -> None:
    pairs = side_by_side("\n".join(map(str, range(400))), "\n".join(map(str, range(401))))
    assert len(pairs) == 301
    assert pairs[-1].is_changed and pairs[-1].after is not None
    assert pairs[-1].after[0].text == "… 101 more lines"
