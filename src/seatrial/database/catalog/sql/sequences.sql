-- Sequences, without those of identity columns, which are part of their column.  Where a sequence stands is data.
SELECT 'sequence' AS kind, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS identity,
       coalesce('column ' || o.refobjid::regclass || '.' || quote_ident(a.attname), '') AS parent,
       'relation ' || c.oid AS key,
       CASE WHEN a.attname IS NULL THEN pg_get_userbyid(c.relowner) END AS owner,
       CASE c.relpersistence WHEN 'u' THEN 'unlogged' END AS persistence,
       format_type(q.seqtypid, NULL) AS type, q.seqstart AS start, q.seqincrement AS increment,
       q.seqmin AS minimum, q.seqmax AS maximum, q.seqcache AS cache, q.seqcycle AS cycle,
       obj_description(c.oid, 'pg_class') AS comment
FROM pg_sequence q
JOIN pg_class c ON c.oid = q.seqrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid AND o.deptype IN ('a', 'i')
                     AND o.refclassid = 'pg_class'::regclass AND o.refobjsubid > 0
LEFT JOIN pg_attribute a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
WHERE n.oid = ANY(%(schemas)s) AND c.relpersistence <> 't' AND o.deptype IS DISTINCT FROM 'i'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
