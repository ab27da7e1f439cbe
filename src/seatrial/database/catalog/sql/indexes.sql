-- Indexes that no constraint stands for.  The index of a partition that follows its parent's is listed only where it
-- differs from what it would be by itself.
SELECT 'index' AS kind, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS identity,
       CASE t.relkind WHEN 'm' THEN 'materialized view ' ELSE 'table ' END || i.indrelid::regclass AS parent,
       'relation ' || c.oid AS key,
       i.indisunique AS unique,
       substr(f.text, position(' USING ' IN f.text) + 1) AS definition,
       i.indisvalid AND i.indisready AND i.indislive AS valid,
       CASE WHEN i.indisclustered THEN true END AS clustered,
       s.targets AS statistics,
       x.description AS comment
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT pg_get_indexdef(c.oid) AS text OFFSET 0) f
LEFT JOIN (SELECT attrelid, array_agg(attnum || ': ' || attstattarget ORDER BY attnum) AS targets FROM pg_attribute
           WHERE coalesce(attstattarget, -1) <> -1 GROUP BY 1) s ON s.attrelid = c.oid
LEFT JOIN pg_description x ON x.classoid = 'pg_class'::regclass AND x.objoid = c.oid AND x.objsubid = 0
WHERE n.oid = ANY(%(schemas)s) AND c.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))
  AND (NOT c.relispartition OR NOT i.indisvalid OR i.indisclustered OR x.description IS NOT NULL)
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = t.oid AND d.deptype = 'e')
