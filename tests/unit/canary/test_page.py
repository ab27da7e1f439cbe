"""The page of a report: nothing loaded, nothing executed, everything from outside escaped, and no claim too much."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("jinja2", reason="install with: pip install 'seatrial[canary]'")

import seatrial.canary.page as page_module
from seatrial.canary.page import plain, render_html, shown
from tests.elements import Elements
from tests.unit.canary.page_examples import judged, rich

HOSTILE = "<script>alert(1)</script>\"' onload='x' {{ 7 * 7 }}{% endraw %}</style></title></svg>\u202e\x1b[2J&amp;"
CHOOSING = {"state", "family", "direction", "kind", "harm", "by", "headline", "verdict"}
VERDICTS = ("REGRESSED", "IMPROVED", "HOLDING", "INCONCLUSIVE")
CSS = (Path(page_module.__file__).parent / "templates" / "report.css").read_text()


class PageElements(Elements):
    """Drawings have elements that end where they begin; style is no text."""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def words_of(report: dict[str, Any]) -> str:
    return PageElements(render_html(report)).words


def hostile(value: Any, name: str = "") -> Any:
    """Replace every text by a hostile one, except days and the words that choose a form."""
    if isinstance(value, dict):
        is_free = name in ("excluded", "unknown", "not_read")
        return {f"{HOSTILE}{key}" if is_free else key: hostile(entry, key) for key, entry in value.items()}
    if isinstance(value, list):
        return [hostile(entry, name) for entry in value]
    if not isinstance(value, str) or name in CHOOSING or re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return value
    return f"{HOSTILE}{value}"


def test_no_text_from_outside_becomes_markup() -> None:
    wild = hostile(rich())
    # The names of labels choose the strips; their values are what comes from outside.
    for entry, kept in zip(wild["values"], rich()["values"], strict=True):
        entry["label"] = kept["label"]
    parsed, tame = PageElements(render_html(wild)), PageElements(render_html(rich()))
    assert "alert(1)" in parsed.words
    assert set(parsed.names) <= set(tame.names) | {"b"}
    assert {name for name, _ in parsed.attributes} <= {name for name, _ in tame.attributes}
    assert not {"script", "link", "img", "iframe"} & set(parsed.names)
    assert "{{ 7 * 7 }}" in parsed.words
    assert not {"\u202e", "\x1b"} & set(render_html(wild))


def test_a_hostile_model_is_harmless_where_it_stands() -> None:
    made = rich()
    for entry in [*made["values"], *made["labels"], made["boundary"]]:
        if entry["label"] == "model":
            entry["value"] = HOSTILE
    assert "<script" not in render_html(made)


def test_characters_that_cannot_be_seen_are_shown_by_their_number() -> None:
    assert shown("a\u202eb\tc\n") == 'a<b class="code">U+202E</b>b\tc\n'
    assert plain("a\u202eb") == "aU+202Eb"


def test_the_page_loads_nothing() -> None:
    page = render_html(rich())
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert all(target.startswith("#") for target in re.findall(r"\b(?:src|href)\s*=\s*\"?([^\s\">]*)", page))
    assert not re.search(r"url\(|@import|https?://|\son\w+=", page)


@pytest.mark.parametrize("name", VERDICTS)
def test_a_verdict_stands_with_its_sessions_and_what_could_have_been_seen(name: str) -> None:
    made = judged(name)
    assert made["verdict"] == name
    words = words_of(made)
    first = words[words.index(f"{name} ") : words.index("When")]
    assert f"{made['sessions']['judged']:,} sessions judged" in first
    assert re.search(r"Smallest change that is found 8 times in 10: −\d+ % or \+\d+ % in \w+", first)


@pytest.mark.parametrize("name", ["few", "empty"])
def test_without_a_search_the_page_says_that_nothing_could_be_found(name: str) -> None:
    words = words_of(judged(name))
    number = 12 if name == "few" else 0
    assert f"{number} sessions judged" in words
    assert f"With {number} sessions a search could not find a change of any size." in words


@pytest.mark.parametrize("name", ["INCONCLUSIVE", "HOLDING", "few", "REGRESSED"])
def test_what_was_not_found_is_never_called_unchanged(name: str) -> None:
    made = judged(name)
    words = words_of({**made, "reason": ""}).replace("no relevant change", "")
    assert not re.search(r"\bno change|unchanged|did not change|same as before", words)
    if any(entry["state"] == "UNRESOLVED" and entry["headline"] for entry in made["metrics"]):
        assert re.search(r"nothing found, too few sessions to tell p = \S+ Smallest to be found: −\d+ %", words)


def test_a_regression_is_told_from_when_to_who() -> None:
    made = rich()
    entry = next(entry for entry in made["metrics"] if entry["name"] == "reads_per_edit")
    assert (entry["state"], entry["attribution"]["label"]) == ("CHANGED", "MODEL")
    words = words_of(made)
    for wanted in (
        "between 28 Oct and 4 Nov 2024 Most likely on 3 Nov 2024.",
        "MODEL The model behaves differently.",
        "changed for the worse",
        "What was asked for",
        "How it was done",
        "blocks of thinking came on 2 Nov 2024: no evidence there about thinking blocks per model call",
        "its signature is here (failed tool calls +80 %, p = 0.010)",
        "3 sessions inside",
        "12",
        "lines of the unknown type strange",
        "20 sessions of 210 that were prompted left no log",
        "4 sessions log no final counts of tokens: these totals are lower bounds. Versions: 1.",
        "Two ways to count",
        "No price is known for strange-1",
        "$53.55 at least",
        "of 60 gave an alarm",
        "phrases of going in circles",
        "Seed 0",
    ):
        assert wanted in words, wanted


def test_what_changed_comes_first() -> None:
    words = words_of(rich())
    table = words[words.index("What that means") :]
    assert table.index("reads per edit") < table.index("failed tool calls") < table.index("cannot be tested")


def test_numbers_are_for_people() -> None:
    for made in (rich(), judged("HOLDING"), judged("INCONCLUSIVE")):
        page = render_html(made)
        assert not re.search(
            r"\d\.\d{5}|\d[eE][-+]\d\d|\bnan\b|\bNone\b(?! was)|\bTrue\b|\binf\b", PageElements(page).words
        )
        hovers = re.findall(r"<title>([^<]*)</title>|(?:aria-label|title)=\"([^\"]*)\"", page)
        assert not [hover for pair in hovers for hover in pair if re.search(r"\d\.\d{5}|None|nan\b", hover)]


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in the report, of lists the first entry."""
    entries = value.items() if isinstance(value, dict) else list(enumerate(value))[:1]
    for key, entry in entries:
        yield (*at, key)
        if isinstance(entry, dict | list):
            yield from paths(entry, (*at, key))


def small() -> dict[str, Any]:
    made = rich()
    changed = [entry for entry in made["metrics"] if entry["state"] == "CHANGED"]
    rare = [entry for entry in made["metrics"] if entry["events"]]
    made["metrics"] = [*changed, *rare[:1]]
    made["timeline"] = made["timeline"][:3]
    made["labels"] = sorted(made["labels"], key=lambda entry: not entry["different"])[:2]
    return made


def test_a_page_is_made_whatever_is_missing_or_of_a_wrong_type() -> None:
    whole = small()
    wrong: tuple[Any, ...] = (None, "x", -1, [], {}, [None], float("nan"), 1e300)
    places = list(paths(whole))
    assert len(places) > 150
    for number, place in enumerate(places):
        for value in (..., None, wrong[number % len(wrong)], wrong[(number + 3) % len(wrong)]):
            made = copy.deepcopy(whole)
            holder: Any = made
            for key in place[:-1]:
                holder = holder[key]
            if value is ...:
                del holder[place[-1]]
            else:
                holder[place[-1]] = value
            PageElements(render_html(made))
    assert "INCONCLUSIVE" in words_of({})


def test_pictures_are_well_formed_and_say_what_they_show() -> None:
    page = render_html(rich())
    found = [ElementTree.fromstring(svg) for svg in whole_pictures(page)]
    assert len(found) > 20
    for one in found:
        assert one.get("aria-hidden") == "true" or (one.get("role") == "img" and one.get("aria-label"))
    points = [title.text or "" for one in found for title in one.iter("title")]
    assert any(re.fullmatch(r"4 Oct 2024: [\d.,]+( %)?, 3 sessions", text) for text in points)


def whole_pictures(page: str) -> Iterator[str]:
    depth, start = 0, 0
    for tag in re.finditer(r"<svg\b[^>]*?(/?)>|</svg>", page):
        if tag.group().startswith("</"):
            depth -= 1
        elif not tag.group(1):
            start = tag.start() if depth == 0 else start
            depth += 1
        if depth == 0:
            yield page[start : tag.end()]


def test_tables_have_headers() -> None:
    page = render_html(rich())
    assert len(re.findall(r"<th\b", page)) == len(re.findall(r'<th\b[^>]* scope="(?:col|row)"', page))
    assert re.findall(r"<h(\d)", page)[:2] == ["1", "2"]


def test_sizes_stay_small() -> None:
    assert len(render_html(rich()).encode()) < 400_000
    assert len(render_html(two_years()).encode()) < 2_000_000


def two_years() -> dict[str, Any]:
    """20,000 sessions on 730 days, with a version a week and all metrics."""
    made = rich()
    days = [f"{2024 + n // 365}-{1 + n % 365 // 31:02d}-{1 + n % 365 % 31 % 28:02d}" for n in range(730)]
    names = [entry["name"] for entry in made["metrics"] if entry["headline"]]
    made["timeline"] = [{"day": d, "sessions": 27, "values": dict.fromkeys(names, 0.123456)} for d in days]
    versions = [f"2.1.{number}" for number in range(104)]
    made["values"] = [
        {"label": "version", "value": v, "sessions": 190, "first_day": days[7 * n], "last_day": days[7 * n + 6]}
        for n, v in enumerate(versions)
    ]
    one = made["labels"][0]
    made["labels"] = [
        {**one, "label": "version", "value": version, "metric": name, "different": number % 3 == 0}
        for number, version in enumerate(versions)
        for name in names
    ]
    daily = made["costs"][0]
    made["costs"] = [{**daily, "key": d, "is_subagent": is_sub} for d in days for is_sub in (False, True)]
    return made


@pytest.mark.parametrize("scheme", [0, 1])
def test_texts_can_be_read_on_their_paper(scheme: int) -> None:
    colours = dict(re.findall(r"--(\w+): (#\w+);", CSS.split("prefers-color-scheme: dark")[scheme]))

    def light(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    papers = {"paper": ("ink", "quiet", "link", "harmful", "good", "moved", "still"), "strip": ("ink", "quiet")}
    papers["note"] = ("ink", "quiet")
    for paper, inks in papers.items():
        for ink in inks:
            high, low = sorted((light(colours[paper]), light(colours[ink])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (paper, ink)
