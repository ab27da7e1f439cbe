-- From Postgres 16 on a membership says itself whether rights are inherited; before, the member's attribute does.
SELECT g.rolname AS granted, m.rolname AS member,
       bool_or(a.admin_option) AS admin,
       bool_or(coalesce((to_jsonb(a) ->> 'inherit_option')::boolean, m.rolinherit)) AS inherit,
       bool_or(coalesce((to_jsonb(a) ->> 'set_option')::boolean, true)) AS set
FROM pg_auth_members a
JOIN pg_roles g ON g.oid = a.roleid
JOIN pg_roles m ON m.oid = a.member
WHERE m.oid >= 16384
GROUP BY 1, 2
