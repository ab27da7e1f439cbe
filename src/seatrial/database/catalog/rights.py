"""Who may do what: grants, default privileges, roles with their memberships, and settings of roles and the database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from seatrial.database.catalog.schema import SchemaObject

_GRANT_OPTION = " WITH GRANT OPTION"
_BEFORE_17 = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}


class Roles:
    """The names to show for roles, and which roles the schema is about."""

    def __init__(self, shown: Mapping[str, str], *, maintain: bool = False) -> None:
        self._shown = shown
        self._on_relations = _BEFORE_17 | ({"MAINTAIN"} if maintain else set())
        self.used: set[str] = set()

    def show(self, role: str) -> str:
        """Return the name to show for `role`, "" where it is to be left out, and remember that it is used."""
        self.used.add(role)
        return self._shown.get(role, role)

    def spread(self, links: Iterable[Mapping[str, Any]]) -> None:
        """Add the roles that the used ones are members of, and their members: these have the rights of the former."""
        pairs = [(link["granted"], link["member"]) for link in links]
        size = -1
        while size != len(self.used):
            size = len(self.used)
            for granted, member in pairs:
                if member in self.used or (granted in self.used and not granted.startswith("pg_")):
                    self.used |= {granted, member}

    def privileges(self, found: Iterable[str], of_relation: bool) -> list[str]:
        """Return privileges; all that the version knows for a relation are ALL: Postgres 17 added MAINTAIN."""
        names = sorted({name for name in found if name})
        if of_relation:
            for suffix in ("", _GRANT_OPTION):
                every = {name + suffix for name in self._on_relations}
                if every <= set(names):
                    names = ["ALL" + suffix, *(name for name in names if name not in every)]
        return names


def grants(
    rows: Iterable[Mapping[str, Any]], names: Roles, objects: dict[tuple[str, str], SchemaObject]
) -> Iterator[SchemaObject]:
    """Give the grants.  An owner's own are normally all there are; else they become a facet in `objects`."""
    labels = {entry.label: key for key, entry in objects.items()}
    every = {
        "s": {"SELECT", "UPDATE", "USAGE"},
        "d": {"CONNECT", "CREATE", "TEMPORARY"},
        "n": {"CREATE", "USAGE"},
        "f": {"EXECUTE"},
        "c": set(),
    }
    merged: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        held = names.privileges(row["privileges"], row["type"] == "r")
        if row["grantee"] == row["owner"]:
            complete = held == ["ALL"] or set(held) == every.get(row["type"], {"USAGE"})
            if not complete and row["object"] in labels:
                key = labels[row["object"]]
                facets = {**objects[key].facets, "owner_privileges": held}
                objects[key] = replace(objects[key], facets=facets)
        elif shown := names.show(row["grantee"]):
            merged.setdefault((row["object"], shown), set()).update(held)
    for (target, shown), held_by in merged.items():
        yield SchemaObject("grant", f"{target} to {shown}", target, {"privileges": sorted(held_by)})


def default_privileges(rows: Iterable[Mapping[str, Any]], names: Roles) -> Iterator[SchemaObject]:
    """Give what objects made later will be granted, as `grantee: privilege`."""
    for row in rows:
        grantor = names.show(row["grantor"])
        if not grantor:
            continue
        held: dict[str, set[str]] = {}
        for grantee, privilege in zip(row["grantees"], row["privileges"], strict=True):
            if shown := names.show(grantee):
                held.setdefault(shown, set()).add(privilege)
        if set(held) == {grantor} and len(set(row["grantees"])) > 1:
            continue  # without those that are left out it says what holds anyway
        tables = row["identity"].startswith("tables")
        lines = [f"{who}: {what}" for who, found in held.items() for what in names.privileges(found, tables)]
        identity = f"{row['identity']} by {grantor}"
        yield SchemaObject("default privileges", identity, "", {"privileges": sorted(lines)}, row["key"])


def memberships(links: Iterable[Mapping[str, Any]], names: Roles) -> Iterator[SchemaObject]:
    """Give the memberships of and in roles that are used."""
    for link in links:
        if link["member"] in names.used:
            member, granted = names.show(link["member"]), names.show(link["granted"])
            if member and granted and member != granted:
                facets = {name: link[name] for name in ("admin", "inherit", "set")}
                yield SchemaObject("membership", f"{member} in {granted}", "", facets)


def role_objects(rows: Iterable[SchemaObject], names: Roles) -> Iterator[SchemaObject]:
    """Give the attributes of roles that are used, under the names to show."""
    for entry in rows:
        facets = dict(entry.facets)
        role = str(facets.pop("role"))
        if role in names.used and (shown := names.show(role)):
            yield replace(entry, identity=shown, facets=facets)


def settings(rows: Iterable[Mapping[str, Any]], names: Roles) -> Iterator[SchemaObject]:
    """Give the settings of the database, of used roles, and of roles in this database."""
    for row in rows:
        if "role" not in row:
            whose = "the database" if row["here"] else "all databases"
        elif not row["here"] and row["role"] not in names.used:
            continue
        elif shown := names.show(row["role"]):
            whose = f"role {shown}" + (" in the database" if row["here"] else "")
        else:
            continue
        yield SchemaObject("setting", f"{row['name']} of {whose}", "", {"value": row["value"]})
