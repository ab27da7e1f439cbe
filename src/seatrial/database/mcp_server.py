"""A branch as tools for an agent, over the Model Context Protocol on standard input and output.

It holds the credentials of one branch and nothing else: no tool reaches production, and the server asks the branch as
any client would.  Every call is one statement by the extended protocol, so that `COMMIT; …` is refused by Postgres;
`query` is one transaction that may only read.  An argument that a tool does not have is refused and not ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import mcp.types as protocol
import psycopg
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server

from seatrial.database.postgres import connect
from seatrial.database.postgres.connection import explain, one_statement
from seatrial.errors import DatabaseError, SeatrialError

_MOST_ROWS, _MOST_CHARACTERS = 200, 60_000
_SCHEMA = """
SELECT format('%I.%I', n.nspname, c.relname) AS relation, a.attname AS column,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1, a.attnum
"""
_SQL = {"type": "string", "description": "One SQL statement."}


@dataclass(frozen=True)
class Tool:
    """One tool: what it says of itself, its arguments by name (all required), and what it does."""

    about: str
    arguments: dict[str, dict[str, str]]
    run: Callable[[Branch, dict[str, str]], Any]
    read_only: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments."""
        return {
            "type": "object",
            "properties": self.arguments,
            "required": list(self.arguments),
            "additionalProperties": False,
        }


class Branch:
    """The URL of a branch, and statements on it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, sql: str) -> dict[str, Any]:
        """Run one statement that may only read."""
        return self._run(sql, read_only=True)

    def execute(self, sql: str) -> dict[str, Any]:
        """Run one statement, and commit it."""
        return self._run(sql, read_only=False)

    def schema(self) -> dict[str, Any]:
        """Return relations and their columns."""
        return self._run(_SCHEMA, read_only=True, most=5_000)

    def propose(self, title: str, sql: str) -> dict[str, Any]:
        """Leave a proposal in the branch's inbox."""
        with connect(self._url) as connection:
            row = connection.execute(
                "INSERT INTO seatrial.inbox (title, sql) VALUES (%s, %s) RETURNING id", [title, sql]
            ).fetchone()
        return {"left": row[0] if row else None, "next": "A person measures and reviews it: seatrial db review"}

    def _run(self, sql: str, *, read_only: bool, most: int = _MOST_ROWS) -> dict[str, Any]:
        with connect(self._url, autocommit=not read_only) as connection:
            if read_only:
                connection.read_only = True
            cursor = one_statement(connection, sql)
            rows = cursor.fetchmany(most + 1) if cursor.description else []
            columns = [column.name for column in cursor.description or ()]
        found = {
            "status": cursor.statusmessage,
            "columns": columns,
            "rows": [[None if value is None else str(value) for value in row] for row in rows[:most]],
        }
        if len(rows) > most:
            found["cut"] = f"There are more than {most} rows; narrow the query."
        return found


TOOLS: dict[str, Tool] = {
    "query": Tool("Read from the branch: one statement.", {"sql": _SQL}, lambda b, a: b.query(a["sql"]), True),
    "execute": Tool("Change the branch, and only the branch.", {"sql": _SQL}, lambda b, a: b.execute(a["sql"])),
    "schema": Tool("List tables, views and their columns.", {}, lambda b, _: b.schema(), True),
    "propose": Tool(
        "Propose a change of production's schema or rows; a person decides.",
        {
            "title": {"type": "string", "description": "What it is for, in a few words."},
            "sql": {"type": "string", "description": "The statements, as a migration file would hold them."},
        },
        lambda b, a: b.propose(a["title"], a["sql"]),
    ),
}


def call(branch: Branch, name: str, arguments: dict[str, Any]) -> Any:
    """Run one tool; DatabaseError for an unknown tool or argument, a missing one, and what the server refuses."""
    tool = TOOLS.get(name)
    if tool is None:
        raise DatabaseError(f"There is no tool {name}.", hint=f"Known: {', '.join(TOOLS)}.")
    unknown, missing = sorted(arguments.keys() - tool.arguments), sorted(tool.arguments.keys() - arguments)
    if unknown or missing:
        what = f"does not have {', '.join(unknown)}" if unknown else f"needs {', '.join(missing)}"
        raise DatabaseError(f"The tool {name} {what}.", hint=f"It takes: {', '.join(tool.arguments) or 'nothing'}.")
    if not all(isinstance(value, str) for value in arguments.values()):
        raise DatabaseError(f"The arguments of {name} are texts.")
    try:
        return tool.run(branch, arguments)
    except psycopg.Error as problem:
        raise DatabaseError(explain(problem, f"{name} fails").message) from problem


def serve(url: str) -> None:
    """Serve the branch of `url` on standard input and output until the client goes."""
    branch = Branch(url)

    async def list_tools(
        _context: ServerRequestContext[Any], _parameters: protocol.PaginatedRequestParams | None
    ) -> protocol.ListToolsResult:
        tools = [
            protocol.Tool(
                name=name,
                description=tool.about,
                input_schema=tool.schema(),
                annotations=protocol.ToolAnnotations(read_only_hint=tool.read_only),
            )
            for name, tool in TOOLS.items()
        ]
        return protocol.ListToolsResult(tools=tools)

    async def call_tool(
        _context: ServerRequestContext[Any], parameters: protocol.CallToolRequestParams
    ) -> protocol.CallToolResult:
        try:
            found = await anyio.to_thread.run_sync(call, branch, parameters.name, dict(parameters.arguments or {}))
            text, failed = json.dumps(found, ensure_ascii=False)[:_MOST_CHARACTERS], False
        except SeatrialError as problem:
            text, failed = f"{problem.message} {problem.hint or ''}".strip(), True
        return protocol.CallToolResult(content=[protocol.TextContent(type="text", text=text)], is_error=failed)

    server: Server[Any] = Server(
        "seatrial-db",
        instructions="A Postgres branch of your own. Change it as you like; production changes by proposals only.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )

    async def run() -> None:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(run)
