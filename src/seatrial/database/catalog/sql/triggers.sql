-- Triggers that people made.  Those which a partition has from its parent are listed where they are switched differently.
SELECT 'trigger' AS kind,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) || '.' || quote_ident(t.tgname) AS identity,
       CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'f' THEN 'foreign table ' ELSE 'table ' END
           || quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS parent,
       'trigger ' || t.oid AS key,
       CASE WHEN t.tgconstraint <> 0 THEN 'constraint trigger ' ELSE '' END
           || substr(pg_get_triggerdef(t.oid), length('CREATE TRIGGER ' || quote_ident(t.tgname) || ' ') + 1
                     + CASE WHEN t.tgconstraint <> 0 THEN length('CONSTRAINT ') ELSE 0 END) AS definition,
       CASE t.tgenabled WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' ELSE 'always' END AS enabled,
       obj_description(t.oid, 'pg_trigger') AS comment
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_trigger p ON p.oid = t.tgparentid
WHERE NOT t.tgisinternal AND n.oid = ANY(%(schemas)s) AND c.relpersistence <> 't'
  AND (t.tgparentid = 0 OR t.tgenabled IS DISTINCT FROM p.tgenabled)
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
