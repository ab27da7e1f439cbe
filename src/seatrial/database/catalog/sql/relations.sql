-- Tables, views, materialized views and foreign tables.  A tablespace is a place, not part of the schema.
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
            ELSE 'table' END AS kind,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS identity, '' AS parent, 'relation ' || c.oid AS key,
       pg_get_userbyid(c.relowner) AS owner,
       CASE c.relpersistence WHEN 'u' THEN 'unlogged' END AS persistence,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
       pg_get_expr(c.relpartbound, c.oid) AS partition_bound,
       (SELECT array_agg(i.inhparent::regclass::text || CASE WHEN i.inhdetachpending THEN ' (detaching)' ELSE '' END
                         ORDER BY i.inhseqno)
        FROM pg_inherits i WHERE i.inhrelid = c.oid) AS inherits,
       CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END AS of_type,
       (SELECT array_agg(o ORDER BY o COLLATE "C") FROM unnest(c.reloptions) o) AS options,
       (SELECT array_agg(o ORDER BY o COLLATE "C") FROM pg_class t, unnest(t.reloptions) o
        WHERE t.oid = c.reltoastrelid) AS toast_options,
       (SELECT a.amname FROM pg_am a WHERE a.oid = c.relam AND a.amname <> 'heap') AS access_method,
       CASE WHEN c.relrowsecurity THEN true END AS row_security,
       CASE WHEN c.relforcerowsecurity THEN true END AS row_security_forced,
       CASE WHEN c.relkind IN ('r', 'p') THEN
            CASE c.relreplident WHEN 'f' THEN 'full' WHEN 'n' THEN 'nothing'
                 WHEN 'i' THEN 'index ' || coalesce((SELECT i.indexrelid::regclass::text FROM pg_index i
                                                     WHERE i.indrelid = c.oid AND i.indisreplident), '(dropped)')
            END END AS replica_identity,
       (SELECT s.srvname FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = f.ftserver
        WHERE f.ftrelid = c.oid) AS server,
       (SELECT array_agg(o ORDER BY o COLLATE "C") FROM pg_foreign_table f, unnest(f.ftoptions) o
        WHERE f.ftrelid = c.oid) AS foreign_options,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS view_definition,
       CASE WHEN c.relkind = 'm' THEN c.relispopulated END AS populated,
       x.description AS comment
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_description x ON x.classoid = 'pg_class'::regclass AND x.objoid = c.oid AND x.objsubid = 0
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.oid = ANY(%(schemas)s) AND c.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
