SELECT 'role' AS kind, quote_ident(r.rolname) AS identity, '' AS parent, 'role ' || r.oid AS key,
       r.rolname AS role, r.rolsuper AS superuser, r.rolinherit AS inherit, r.rolcreaterole AS create_role,
       r.rolcreatedb AS create_database, r.rolcanlogin AS login, r.rolreplication AS replication,
       r.rolbypassrls AS bypass_row_security, nullif(r.rolconnlimit, -1) AS connection_limit,
       r.rolvaliduntil::text AS valid_until, shobj_description(r.oid, 'pg_authid') AS comment
FROM pg_roles r
WHERE r.oid >= 16384
