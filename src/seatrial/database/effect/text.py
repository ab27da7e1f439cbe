"""The report as plain text: one screen, aligned, for a terminal or a comment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from seatrial.database.effect import phrases
from seatrial.database.effect.report import EffectReport, StatementEffect

_WIDTH = 100
_MOST_CHANGES = 20
_MOST_DEEDS = 6


def render_text(report: EffectReport) -> str:
    """Return the report as text of at most 100 columns; characters that steer a terminal are shown as escapes."""
    sections = (
        _verdict(report),
        _hazards(report),
        _statements(report),
        _schema(report),
        _plans(report),
        _advice(report),
        _undo(report),
        _notes(report),
    )
    blocks = ["\n".join(lines) for lines in (list(section) for section in sections) if lines]
    return phrases.visible("\n\n".join(blocks)) + "\n"


def _verdict(report: EffectReport) -> Iterator[str]:
    yield from _wrapped(phrases.verdict(report), "")
    failure = report.failure
    if failure:
        code = f"SQLSTATE {failure.sqlstate}. " if failure.sqlstate else ""
        if code or failure.hint:
            yield from _wrapped(f"{code}{failure.hint}".strip(), "  ")
    if report.hazards:
        yield from _wrapped("Approval must name: " + ", ".join(report.hazard_names), "")


def _hazards(report: EffectReport) -> Iterator[str]:
    if not report.hazards:
        return
    yield "HAZARDS"
    wide = max(len(hazard.name) for hazard in report.hazards)
    for hazard in sorted(report.hazards, key=lambda h: (phrases.SEVERITIES.index(h.severity), h.name)):
        head = f"  {hazard.severity:<6}  {hazard.name:<{wide}}  "
        for place in hazard.places:
            at = f"{place.statement}: " if place.statement else ""
            yield from _wrapped(f"{at}{place.why}", head)
            head = " " * len(head)


def _statements(report: EffectReport) -> Iterator[str]:
    if not report.statements:
        return
    yield "STATEMENTS"
    rows = [_cells(effect) for effect in report.statements]
    head = ("#", "tx", "time", "log")
    widths = [max(len(row[i]) for row in [head, *(cells for cells, _ in rows)]) for i in range(4)]
    yield "  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(head, widths, strict=True)) + "  what"
    for (cells, deeds), effect in zip(rows, report.statements, strict=True):
        prefix = "  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)) + "  "
        yield from _shortened(effect.text, prefix)
        for deed in deeds:
            yield from _wrapped(deed, " " * len(prefix) + "  ")


def _cells(effect: StatementEffect) -> tuple[tuple[str, ...], list[str]]:
    locks = phrases.locks_phrases(effect)
    deeds = list(phrases.deeds(effect))
    if len(deeds) > _MOST_DEEDS:
        deeds = [*deeds[: _MOST_DEEDS - 1], f"and {len(deeds) - _MOST_DEEDS + 1} more"]
    if locks:
        deeds += locks
    group = str(effect.group) if effect.transactional else "–"
    cells = (str(effect.number), group, phrases.time_of(effect.duration_ms), phrases.amount(effect.wal_bytes))
    return cells, deeds


def _schema(report: EffectReport) -> Iterator[str]:
    if not report.changes:
        return
    yield "SCHEMA"
    for change in report.changes[:_MOST_CHANGES]:
        yield from _wrapped(change.sentence, f"  {phrases.MARKS.get(change.action, ' ')} ")
    if len(report.changes) > _MOST_CHANGES:
        yield f"  and {len(report.changes) - _MOST_CHANGES} more"


def _plans(report: EffectReport) -> Iterator[str]:
    told = [plan for plan in report.plans if plan.findings or plan.problem]
    if report.plans:
        yield f"PLANS  {len(report.plans)} compared, {len(told)} changed"
    for plan in told:
        yield from _wrapped(
            f"{plan.name}: {phrases.plan_phrase(plan.before)} → {phrases.plan_phrase(plan.after)}. "
            + " ".join([*plan.findings, plan.problem]),
            "  ",
        )


def _advice(report: EffectReport) -> Iterator[str]:
    if report.findings:
        yield "LINT"
    for finding in report.findings:
        at = f"{finding.statement}: " if finding.statement else ""
        yield from _wrapped(f"{at}{finding.message} {finding.advice}".strip() + f" [{finding.rule}]", "  ")
    if report.offers:
        yield "SAFER"
    for offer in report.offers:
        yield from _wrapped(f"{offer.statement}: {offer.rewriting.title}", "  ")
        for line in phrases.script(offer.rewriting).splitlines():
            yield f"     {line}"


def _undo(report: EffectReport) -> Iterator[str]:
    yield "UNDO   " + phrases.undo_phrase(report)
    for reason in report.undo.reasons:
        yield from _wrapped(reason, "  ")


def _notes(report: EffectReport) -> Iterator[str]:
    yield "NOTES"
    yield f"  PostgreSQL {report.server.removeprefix('PostgreSQL ')}"
    for index in report.invalid_indexes:
        yield f"  Invalid index left: {index}"
    for constraint in report.unchecked_constraints:
        yield f"  Not yet validated: {constraint}"
    for size in report.sizes:
        yield f"  {phrases.size_phrase(size)}"
    notes: Iterable[str] = report.notes if phrases.COPY_NOTE in report.notes else (*report.notes, phrases.COPY_NOTE)
    for note in notes:
        yield from _wrapped(note, "  ")


def _shortened(text: str, prefix: str) -> Iterator[str]:
    yield prefix + textwrap.shorten(phrases.visible(" ".join(text.split())), _WIDTH - len(prefix), placeholder=" …")


def _wrapped(text: str, prefix: str) -> list[str]:
    return textwrap.wrap(
        phrases.visible(" ".join(text.split())),
        _WIDTH,
        initial_indent=prefix,
        subsequent_indent=" " * len(prefix),
        break_on_hyphens=False,
    ) or [prefix.rstrip()]
