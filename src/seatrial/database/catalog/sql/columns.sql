-- Columns of tables; of views only those that carry something of their own, the rest is in the view's definition.
-- A column that is inherited says from whom, so that it can be left out where it is as its origin has it.
-- The position is the rank among the columns that exist: attnum itself has gaps where columns were dropped.
SELECT 'column' AS kind,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) || '.' || quote_ident(a.attname) AS identity,
       CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table '
            ELSE 'table ' END || quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS parent,
       'column ' || c.oid || '.' || a.attnum AS key,
       CASE WHEN NOT a.attislocal THEN
            (SELECT i.inhparent::regclass::text || '.' || quote_ident(a.attname)
             FROM pg_inherits i JOIN pg_attribute p ON p.attrelid = i.inhparent AND p.attname = a.attname
             WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1) END AS inherited_from,
       CASE WHEN a.attislocal AND c.relkind NOT IN ('v', 'm')
            THEN rank() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) END AS position,
       format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN c.relkind NOT IN ('v', 'm') THEN a.attnotnull END AS not_null,
       k.unvalidated AS not_null_unvalidated,
       CASE WHEN a.attgenerated = '' AND a.atthasdef THEN pg_get_expr(d.adbin, d.adrelid) END AS default,
       CASE a.attgenerated WHEN 's' THEN 'stored: ' || pg_get_expr(d.adbin, d.adrelid)
                           WHEN 'v' THEN 'virtual: ' || pg_get_expr(d.adbin, d.adrelid) END AS generated,
       CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END AS identity_column,
       CASE WHEN a.attidentity <> '' THEN
            (SELECT q.seqrelid::regclass || ' ' || format_type(q.seqtypid, NULL) || ' start ' || q.seqstart
                    || ' increment ' || q.seqincrement || ' minimum ' || q.seqmin || ' maximum ' || q.seqmax
                    || ' cache ' || q.seqcache || CASE WHEN q.seqcycle THEN ' cycle' ELSE '' END
             FROM pg_depend e JOIN pg_sequence q ON q.seqrelid = e.objid
             WHERE e.refclassid = 'pg_class'::regclass AND e.refobjid = c.oid AND e.refobjsubid = a.attnum
               AND e.classid = 'pg_class'::regclass AND e.deptype = 'i') END AS identity_sequence,
       CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END
           AS collation,
       CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END AS compression,
       CASE WHEN a.attstorage <> t.typstorage THEN
            CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' ELSE 'extended' END
       END AS storage,
       nullif(a.attstattarget, -1)::int AS statistics,
       a.attoptions AS options, a.attfdwoptions AS foreign_options,
       x.description AS comment
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN (SELECT conrelid, conkey, true AS unvalidated FROM pg_constraint WHERE contype = 'n' AND NOT convalidated) k
       ON k.conrelid = a.attrelid AND k.conkey = ARRAY[a.attnum]
LEFT JOIN pg_description x ON x.classoid = 'pg_class'::regclass AND x.objoid = a.attrelid AND x.objsubid = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND n.oid = ANY(%(schemas)s) AND c.relpersistence <> 't'
  AND (c.relkind IN ('r', 'p', 'f')
       OR c.relkind IN ('v', 'm') AND (a.atthasdef OR x.description IS NOT NULL OR a.attoptions IS NOT NULL
           OR a.attcompression <> '' OR a.attstorage <> t.typstorage OR coalesce(a.attstattarget, -1) <> -1))
  AND NOT EXISTS (SELECT FROM pg_depend e
                  WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
