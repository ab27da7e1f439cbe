"""Statements that undo one change of the schema, by its kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from seatrial.database import catalog
from seatrial.database.catalog import Change, Schema
from seatrial.database.catalog.schema import Facet

_LAST = re.compile(r'(?:"(?:[^"]|"")*"|[^".]+)\Z')

Step = tuple[int, str]
"""A statement and its rank: what depends on others goes first when dropping and last when making."""
_DROP_RANK = {
    "policy": 0,
    "trigger": 0,
    "rule": 0,
    "grant": 0,
    "view": 1,
    "materialized view": 2,
    "constraint": 3,
    "index": 4,
    "statistics": 4,
    "column": 5,
    "table": 6,
    "foreign table": 6,
    "sequence": 7,
    "function": 8,
    "procedure": 8,
    "type": 9,
    "extension": 10,
    "schema": 11,
}
_RENAMED, _CHANGED, _MADE = 20, 30, 40
_MAKE_RANK = {
    "schema": 0,
    "type": 1,
    "sequence": 2,
    "function": 3,
    "procedure": 3,
    "column": 4,
    "index": 6,
    "statistics": 6,
    "view": 7,
    "materialized view": 7,
    "trigger": 8,
    "rule": 8,
    "policy": 8,
    "grant": 9,
    "comment": 10,
}
_BY_ITSELF = frozenset((*_DROP_RANK, "publication", "collation", "aggregate")) - {
    "policy",
    "trigger",
    "rule",
    "grant",
    "constraint",
    "column",
}
"""Kinds that are dropped and renamed by their own name."""
_CONSTRAINT_TRIGGER = "constraint trigger "
_ENABLED = {"yes": "ENABLE", "no": "DISABLE", "replica": "ENABLE REPLICA", "always": "ENABLE ALWAYS"}


class NoWayBackError(Exception):
    """No statement is known that undoes this."""


def steps(change: Change, before: Schema, rebuild: bool = False) -> Iterator[Step]:
    """Give the statements that undo `change` of the schema `before`, with their ranks.

    With `rebuild` a view that changed is dropped and made again instead of being replaced.

    Raises NoWayBackError where none is known.
    """
    if change.action == "added":
        yield _DROP_RANK.get(change.kind, 0), _drop(change)
    elif change.action == "removed":
        yield from _make(change)
    elif rebuild and change.kind == "view" and "view_definition" in change.facets and change.action == "changed":
        yield _DROP_RANK["view"], _drop(change)
        yield from _make(_removal(change, before))
    else:
        if change.action == "renamed":
            yield _RENAMED, _rename(change)
        yield from _restore(change, before)


def _drop(change: Change) -> str:
    name = _name(change)
    if change.kind in _BY_ITSELF:
        return f"DROP {change.kind.upper()} {change.identity}"
    if change.kind in ("column", "constraint"):
        return f"ALTER {change.parent.split(' ', 1)[0].upper()} {_owner(change)} DROP {change.kind.upper()} {name}"
    if change.kind in ("trigger", "policy", "rule"):
        return f"DROP {change.kind.upper()} {name} ON {_owner(change)}"
    if change.kind == "grant":
        return _granted(change, "REVOKE", "FROM", 1)
    raise NoWayBackError


def _make(change: Change) -> Iterator[Step]:
    was = {name: before for name, (before, _) in change.facets.items() if before is not None}
    rank = _MADE + _MAKE_RANK.get(change.kind, 5)
    if change.kind == "constraint" and was.get("type") == "foreign key":
        rank += 1  # after the keys that it refers to
    if change.kind == "grant":
        yield rank, _granted(change, "GRANT", "TO", 0)
        return
    yield rank, _made_of_relation(change, was) if change.parent else _made_alone(change, was)
    if "comment" in was:
        yield _MADE + 10, _comment(change, was["comment"])
    for child in change.children:
        yield from _make(child)


def _made_of_relation(change: Change, was: Mapping[str, Facet]) -> str:
    name, definition = _name(change), str(was.get("definition", ""))
    if change.kind == "index":
        return f"CREATE {'UNIQUE ' if was.get('unique') else ''}INDEX {name} ON {_owner(change)} {definition}"
    if change.kind == "constraint" and definition:
        return f"ALTER TABLE {_owner(change)} ADD CONSTRAINT {name} {definition}"
    if change.kind == "policy":
        return _policy(change, was)
    if change.kind == "column" and "generated" not in was and "identity_column" not in was:
        default = f" DEFAULT {was['default']}" if "default" in was else ""
        not_null = " NOT NULL" if was.get("not_null") else ""
        return f"ALTER TABLE {_owner(change)} ADD COLUMN {name} {was['type']}{default}{not_null}"
    if change.kind == "trigger":
        rest = definition.removeprefix(_CONSTRAINT_TRIGGER)
        return f"CREATE {'CONSTRAINT ' if rest != definition else ''}TRIGGER {name} {rest}"
    if change.kind == "rule":
        return f"CREATE RULE {name} AS {definition.rstrip(';')}"
    if change.kind == "statistics":
        return definition.rstrip(";\n ")
    raise NoWayBackError


def _made_alone(change: Change, was: Mapping[str, Facet]) -> str:
    if change.kind in ("function", "procedure"):
        return str(was["definition"]).rstrip("\n ")
    if change.kind == "view":
        options = was.get("options")
        with_options = f" WITH ({', '.join(options)})" if isinstance(options, list) else ""
        return f"CREATE VIEW {change.identity}{with_options} AS {_body(was)}"
    if change.kind == "materialized view":
        with_data = "" if was.get("populated") else " WITH NO DATA"
        return f"CREATE MATERIALIZED VIEW {change.identity} AS {_body(was)}{with_data}"
    labels = was.get("labels")
    if change.kind == "type" and isinstance(labels, list):
        return f"CREATE TYPE {change.identity} AS ENUM ({', '.join(map(_text, labels))})"
    if change.kind == "schema":
        return f"CREATE SCHEMA {change.identity}"
    raise NoWayBackError


def _removal(change: Change, before: Schema) -> Change:
    """Return the change that takes an object of `before` away with all that goes with it."""
    kept = [entry for key, entry in before.objects.items() if key != (change.kind, change.identity)]
    label = f"{change.kind} {change.identity}"
    gone = catalog.diff(before, Schema.of([entry for entry in kept if entry.parent != label]))
    return next(entry for entry in gone if (entry.kind, entry.identity) == (change.kind, change.identity))


def _rename(change: Change) -> str:
    before = str(change.facets["identity"][0])
    old = _last(before)
    if change.kind in ("column", "constraint"):
        return f"ALTER TABLE {_owner(change)} RENAME {change.kind.upper()} {_name(change)} TO {old}"
    if change.kind in ("trigger", "policy"):
        return f"ALTER {change.kind.upper()} {_name(change)} ON {_owner(change)} RENAME TO {old}"
    if change.kind in _BY_ITSELF and before.removesuffix(old) == change.identity.removesuffix(_last(change.identity)):
        return f"ALTER {change.kind.upper()} {change.identity} RENAME TO {old.split('(', 1)[0]}"
    raise NoWayBackError


def _restore(change: Change, before: Schema) -> Iterator[Step]:
    """Give the statements for properties that changed on something that stays."""
    facets = {name: pair for name, pair in change.facets.items() if name != "identity"}
    if "comment" in facets:
        yield _CHANGED, _comment(change, facets.pop("comment")[0])
    if "owner" in facets and change.kind in _BY_ITSELF:
        yield _CHANGED + 1, f"ALTER {change.kind.upper()} {change.identity} OWNER TO {_role(facets.pop('owner')[0])}"
    if not facets:
        return
    if change.kind == "column":
        yield from _restored_column(change, facets)
    elif change.kind == "table":
        yield from _restored_table(change, facets)
    elif change.kind == "grant":
        yield from _restored_grant(change, facets)
    elif change.kind == "trigger" and set(facets) == {"enabled"}:
        yield (
            _CHANGED,
            f"ALTER TABLE {_owner(change)} {_ENABLED[str(facets.pop('enabled')[0])]} TRIGGER {_name(change)}",
        )
    elif change.kind in ("index", "constraint", "trigger", "policy", "rule"):
        facets.clear()
        was = before.objects[change.kind, str(change.facets.get("identity", (change.identity,))[0])]
        yield _DROP_RANK[change.kind], _drop(change)
        whole: dict[str, tuple[Facet, Facet]] = {name: (value, None) for name, value in was.facets.items()}
        yield from _make(Change("removed", was.kind, was.identity, whole, was.parent))
    else:
        yield from _restored_body(change, facets)
    if facets:
        raise NoWayBackError


def _restored_body(change: Change, facets: dict[str, tuple[Facet, Facet]]) -> Iterator[Step]:
    if change.kind in ("function", "procedure") and "definition" in facets:
        yield _CHANGED, str(facets.pop("definition")[0]).rstrip("\n ")
    elif change.kind == "view" and "view_definition" in facets:
        body = str(facets.pop("view_definition")[0]).rstrip("; ")
        yield _CHANGED, f"CREATE OR REPLACE VIEW {change.identity} AS {body}"


def _restored_grant(change: Change, facets: dict[str, tuple[Facet, Facet]]) -> Iterator[Step]:
    old, new = (set(side) if isinstance(side, list) else set() for side in facets.pop("privileges", (None, None)))
    for verb, towards, privileges in (("REVOKE", "FROM", new - old), ("GRANT", "TO", old - new)):
        if privileges:
            one = replace(change, facets={"privileges": (sorted(privileges), None)})
            yield _CHANGED, _granted(one, verb, towards, 0)


def _restored_column(change: Change, facets: dict[str, tuple[Facet, Facet]]) -> Iterator[Step]:
    start = f"ALTER TABLE {_owner(change)} ALTER COLUMN {_name(change)}"
    default = facets.pop("default", None)
    if "type" in facets:
        if default:
            yield _CHANGED, f"{start} DROP DEFAULT"
        old = facets.pop("type")[0]
        yield _CHANGED + 1, f"{start} TYPE {old} USING {_name(change)}::{old}"
    if default:
        yield _CHANGED + 2, f"{start} DROP DEFAULT" if default[0] is None else f"{start} SET DEFAULT {default[0]}"
    if "not_null" in facets:
        yield _CHANGED + 2, f"{start} {'SET' if facets.pop('not_null')[0] else 'DROP'} NOT NULL"
    if "statistics" in facets:
        old = facets.pop("statistics")[0]
        yield _CHANGED + 2, f"{start} SET STATISTICS {-1 if old is None else old}"


def _restored_table(change: Change, facets: dict[str, tuple[Facet, Facet]]) -> Iterator[Step]:
    start = f"ALTER TABLE {change.identity}"
    if "row_security" in facets:
        yield _CHANGED, f"{start} {'ENABLE' if facets.pop('row_security')[0] else 'DISABLE'} ROW LEVEL SECURITY"
    if "row_security_forced" in facets:
        yield _CHANGED, f"{start} {'' if facets.pop('row_security_forced')[0] else 'NO '}FORCE ROW LEVEL SECURITY"
    if "options" in facets:
        old, new = ([str(x) for x in side] if isinstance(side, list) else [] for side in facets.pop("options"))
        if new:
            yield _CHANGED, f"{start} RESET ({', '.join(entry.split('=', 1)[0] for entry in new)})"
        if old:
            yield _CHANGED + 1, f"{start} SET ({', '.join(old)})"
    if "persistence" in facets:
        yield _CHANGED, f"{start} SET {'UNLOGGED' if facets.pop('persistence')[0] else 'LOGGED'}"


def _body(was: Mapping[str, object]) -> str:
    return str(was["view_definition"]).rstrip("; ")


def _policy(change: Change, was: Mapping[str, object]) -> str:
    roles = was.get("roles")
    names = ", ".join(_role(role) for role in roles) if isinstance(roles, list) else "PUBLIC"
    text = f"CREATE POLICY {_name(change)} ON {_owner(change)}"
    text += "" if was.get("permissive") else " AS RESTRICTIVE"
    text += f" FOR {str(was['command']).upper()} TO {names}"
    text += f" USING ({was['using']})" if "using" in was else ""
    return text + (f" WITH CHECK ({was['check']})" if "check" in was else "")


def _granted(change: Change, verb: str, towards: str, side: int) -> str:
    privileges = change.facets["privileges"][side]
    kind, _, name = change.parent.partition(" ")
    if not isinstance(privileges, list) or any("GRANT OPTION" in entry for entry in privileges):
        raise NoWayBackError
    if kind not in ("table", "view", "sequence", "schema", "function", "procedure", "type"):
        raise NoWayBackError
    on = "TABLE" if kind == "view" else kind.upper()
    return f"{verb} {', '.join(privileges)} ON {on} {name} {towards} {_role(change.identity.rpartition(' to ')[2])}"


def _comment(change: Change, text: object) -> str:
    what = f"{change.kind.upper()} {change.identity}"
    if change.kind in ("constraint", "trigger", "policy", "rule"):
        what = f"{change.kind.upper()} {_name(change)} ON {_owner(change)}"
    return f"COMMENT ON {what} IS {'NULL' if text is None else _text(str(text))}"


def _name(change: Change) -> str:
    return _last(change.identity)


def _last(identity: str) -> str:
    """Return the last name of a qualified one, as written; a function keeps its arguments."""
    match = _LAST.search(identity.split("(", 1)[0]) if not identity.endswith('"') else _LAST.search(identity)
    assert match is not None  # every identity ends in a name
    return identity[match.start() :]


def _owner(change: Change) -> str:
    """Return the relation that the object belongs to."""
    for kind in ("materialized view ", "foreign table ", "table ", "view "):
        if change.parent.startswith(kind):
            return change.parent.removeprefix(kind)
    raise NoWayBackError


def _role(name: object) -> str:
    return "PUBLIC" if name == "PUBLIC" else '"' + str(name).replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
