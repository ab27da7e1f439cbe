SELECT 'rule' AS kind, r.ev_class::regclass || '.' || quote_ident(r.rulename) AS identity,
       CASE c.relkind WHEN 'v' THEN 'view ' ELSE 'table ' END || r.ev_class::regclass AS parent, 'rule ' || r.oid AS key,
       ltrim(substr(pg_get_ruledef(r.oid), length('CREATE RULE ' || quote_ident(r.rulename) || ' AS') + 1), E' \n') AS definition,
       CASE r.ev_enabled WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' ELSE 'always' END AS enabled,
       obj_description(r.oid, 'pg_rewrite') AS comment
FROM pg_rewrite r
JOIN pg_class c ON c.oid = r.ev_class
WHERE r.rulename <> '_RETURN' AND c.relnamespace = ANY(%(schemas)s)
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
