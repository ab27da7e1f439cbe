"""A branch as an agent's tools, through the real protocol and the installed command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("mcp", reason="install with: pip install 'seatrial[mcp]'")

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from seatrial import database
from seatrial.database.project import Project


def talk(project: Project, *words: str, calls: list[tuple[str, dict[str, Any]]]) -> list[tuple[bool, str]]:
    """Start the server, make the calls, and return (failed, text) of each."""
    command = str(Path(sys.executable).with_name("seatrial"))
    parameters = StdioServerParameters(
        command=command, args=["db", "mcp", *words], env=dict(os.environ), cwd=str(project.root)
    )
    found: list[tuple[bool, str]] = []

    async def run() -> None:
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            tools = await session.list_tools()
            assert {tool.name for tool in tools.tools} == {"query", "execute", "schema", "propose"}
            for name, arguments in calls:
                result = await session.call_tool(name, arguments)
                found.append((bool(result.is_error), result.content[0].text))  # type: ignore[union-attr]

    anyio.run(run)
    return found


def test_an_agent_works_on_its_branch_and_proposes(shop: Project) -> None:
    database.create_branch(shop, database.Wish("agent"))
    found = talk(
        shop,
        "--branch",
        "agent",
        calls=[
            ("query", {"sql": "SELECT count(*) FROM orders"}),
            ("query", {"sql": "DELETE FROM orders"}),
            ("query", {"sql": "COMMIT; DELETE FROM orders"}),
            ("query", {"sql": "WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) FROM gone"}),
            ("query", {"sql": "SELECT pg_read_file('/etc/passwd')"}),
            ("query", {"sql": "SELECT 1", "read_only-true": "yes"}),
            ("query", {}),
            ("execute", {"sql": "DELETE FROM orders WHERE id = 1"}),
            ("query", {"sql": "SELECT count(*) FROM orders"}),
            ("schema", {}),
            ("propose", {"title": "Notes", "sql": "ALTER TABLE orders ADD COLUMN note text"}),
            ("drop_production", {}),
        ],
    )
    failed = [failed for failed, _ in found]
    assert failed == [False, True, True, True, True, True, True, False, False, False, False, True]
    assert '"1000"' in found[0][1]
    assert "read-only transaction" in found[1][1]
    assert "multiple commands" in found[2][1]
    assert "does not have read_only-true" in found[5][1]
    assert '"999"' in found[8][1]
    assert "public.orders" in found[9][1]
    assert [made.title for _, made, _ in database.collect_inbox(shop) if made] == ["Notes"]
