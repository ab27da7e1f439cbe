SELECT r.rolname AS role, s.setdatabase <> 0 AS here, split_part(p, '=', 1) AS name,
       substr(p, position('=' IN p) + 1) AS value
FROM pg_db_role_setting s
CROSS JOIN unnest(s.setconfig) p
LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
