"""Definitions of views as an older server prints them, brought to what Postgres 16 and later print."""

from __future__ import annotations

import pytest

from seatrial.database.catalog.definitions import outer_names_removed


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (" SELECT u.a,\n    'u.b'::text\n   FROM public.u;", " SELECT a,\n    'u.b'::text\n   FROM public.u;"),
        (
            " SELECT count(u.*) AS c, u.m FROM public.users u GROUP BY u.m;",
            " SELECT count(u.*) AS c, m FROM public.users u GROUP BY m;",
        ),
        (
            " SELECT users.*::public.users AS users FROM public.users;",
            " SELECT users.*::public.users AS users FROM public.users;",
        ),
        (
            " SELECT t.a FROM (public.t JOIN public.s ON t.a = s.a);",
            " SELECT t.a FROM (public.t JOIN public.s ON t.a = s.a);",
        ),
        (
            " SELECT t.a, (SELECT s.b FROM public.s WHERE s.b = t.a) FROM public.t;",
            " SELECT a, (SELECT s.b FROM public.s WHERE s.b = t.a) FROM public.t;",
        ),
        (
            " SELECT t.a FROM public.t UNION SELECT s.a FROM public.s;",
            " SELECT t.a FROM public.t UNION SELECT s.a FROM public.s;",
        ),
        (" SELECT 1;", " SELECT 1;"),
    ],
)
def test_names_are_left_out_where_newer_servers_do(older: str, newer: str) -> None:
    assert outer_names_removed(older) == newer
