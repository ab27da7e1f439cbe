"""The figures of a report in words, the same in text and page."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.database.effect.report import (
    EffectReport,
    Lock,
    Loss,
    PlanSummary,
    Rewriting,
    Rows,
    Size,
    StatementEffect,
)

SEVERITIES = ("high", "medium", "low")
COPY_NOTE = (
    "Times are of this copy, with the sizes given here, on this machine and without other users; "
    "they are not production's."
)
MARKS = {"added": "+", "removed": "−", "changed": "~", "renamed": "→"}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_OBJECTS_NAMED = 4


def visible(text: str) -> str:
    """Return `text` with every character that would not be seen, or would steer a terminal, as its escape."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def amount(bytes_: int) -> str:
    """Return a number of bytes: `22.8 MiB`."""
    value, unit = float(bytes_), _UNITS[0]
    for unit in _UNITS:
        if abs(value) < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def time_of(milliseconds: float) -> str:
    """Return a duration: `0.4 ms`, `13.2 s`, `4 min 10 s`."""
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{int(milliseconds // 60_000)} min {int(milliseconds % 60_000 // 1000)} s"


def number(value: int | None, is_exact: bool = True) -> str:
    """Return a count with thousands apart: `100,000`, `about 2,000,000`, `an unknown number of`."""
    if value is None:
        return "an unknown number of"
    return f"{value:,}" if is_exact else f"about {value:,}"


def plural(count: int, one: str, many: str = "") -> str:
    """Return `1 row`, `2 rows`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def mode_of(lock: Lock) -> str:
    """Return a lock's mode without the word that all of them end in."""
    return lock.mode.removesuffix("Lock")


def locks_phrases(effect: StatementEffect) -> list[str]:
    """Return a phrase for each mode: `AccessExclusive on public.users, held 13 ms`; new relations are left out."""
    grouped: dict[tuple[str, float, bool], list[str]] = {}
    for lock in effect.locks:
        if not lock.is_new:
            grouped.setdefault((mode_of(lock), lock.held_ms, lock.is_measured), []).append(lock.relation)
    return [
        f"{mode} lock on {objects_phrase(relations)}, held {time_of(held)}"
        + ("" if is_measured else " (documented, not observed)")
        for (mode, held, is_measured), relations in grouped.items()
    ]


def loss_phrase(loss: Loss) -> str:
    """Return what is gone: `12 rows of public.t are gone`."""
    count = number(loss.count, loss.is_exact)
    is_one = loss.count == 1
    what = "value" if loss.what.endswith("values") else "row"
    things = what if is_one else what + "s"
    end = {"changed values": "changed", "truncated rows": "truncated"}.get(loss.what, "lost")
    return f"{count} {things} of {loss.object} {end}"


def rows_phrase(rows: Rows) -> str:
    """Return `public.t: 3 inserted, 2 updated`."""
    parts = [
        f"{count:,} {verb}"
        for count, verb in ((rows.inserted, "inserted"), (rows.updated, "updated"), (rows.deleted, "deleted"))
        if count
    ]
    return f"{rows.table}: {', '.join(parts)}"


def size_phrase(size: Size) -> str:
    """Return `public.t: 22.8 MiB, 200,000 rows`."""
    return f"{size.table}: {amount(size.bytes)}, {number(size.rows)} {'row' if size.rows == 1 else 'rows'}"


def plan_phrase(plan: PlanSummary | None) -> str:
    """Return `cost 12.3, 5 blocks`, or a dash where there is no plan."""
    if plan is None:
        return "–"
    blocks = "not executed" if plan.blocks < 0 else plural(plan.blocks, "block")
    return f"cost {plan.cost:,.1f}, {blocks}"


def objects_phrase(objects: Sequence[str]) -> str:
    """Return the first few names and how many more there are."""
    named = ", ".join(objects[:_OBJECTS_NAMED])
    more = len(objects) - _OBJECTS_NAMED
    return f"{named} and {more} more" if more > 0 else named


def deeds(effect: StatementEffect) -> tuple[str, ...]:
    """Return what a statement did, in phrases, what matters most first."""
    found = [loss_phrase(loss) for loss in effect.losses if loss.count or not loss.is_exact]
    found += [f"drops {named.kind} {named.name}" for named in effect.dropped]
    found += [f"rewrites {objects_phrase(effect.rewritten)}"] if effect.rewritten else []
    truncated = {loss.object for loss in effect.losses if loss.what == "truncated rows"}
    found += [f"truncates {name}" for name in effect.truncated if name not in truncated]
    found += [rows_phrase(rows) for rows in effect.rows]
    found += [f"builds index {name}" for name in effect.indexes_built]
    found += [f"reads all of {scan.table} ({plural(scan.rows, 'row')})" for scan in effect.scans if not scan.is_new]
    built = set(effect.indexes_built)
    found += [f"new {named.kind} {named.name}" for named in effect.created if named.name not in built]
    found += [f"runs hidden code: {code}" for code in effect.hidden_code]
    return tuple(found)


def where(number_: int) -> str:
    """Return `statement 2`, or `the whole change` for 0."""
    return f"statement {number_}" if number_ else "the whole change"


def verdict(report: EffectReport) -> str:
    """Return one sentence: what came of it and how dangerous it is."""
    if report.failure:
        failure = report.failure
        at = "the commit after statement" if failure.at_commit else "statement"
        line = f" (line {failure.line})" if failure.line else ""
        return f"Failed at {at} {failure.statement}{line}: {failure.message.rstrip('.')}."
    count = plural(len(report.statements), "statement")
    if not report.hazards:
        return f"Ran on the copy: {count} in {time_of(report.duration_ms)}, no hazard found."
    high = sum(hazard.severity == "high" for hazard in report.hazards)
    told = plural(len(report.hazards), "hazard") + (f", {high} of them high" if high else "")
    return f"Ran on the copy: {count} in {time_of(report.duration_ms)}; {told}."


def undo_phrase(report: EffectReport) -> str:
    """Return whether there is a way back."""
    if report.undo.is_exact:
        return "A script brings back the first schema exactly; it was tried on the copy."
    if report.undo.sql:
        return "A script brings back part of it."
    return "There is no script back." if report.statements else "Nothing to undo."


def script(rewriting: Rewriting) -> str:
    """Return the steps as one text, with a comment above each that says how to run it."""
    if len(rewriting.steps) == 1 and not rewriting.repeated:
        return f"{rewriting.steps[0]};"
    told = []
    for number_, step in enumerate(rewriting.steps, 1):
        again = ", again until it changes no row" if number_ in rewriting.repeated else ""
        told.append(f"-- {number_}. change{again}\n{step};")
    return "\n".join(told)
