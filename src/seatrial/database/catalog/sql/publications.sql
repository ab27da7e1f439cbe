SELECT 'publication' AS kind, quote_ident(p.pubname) AS identity, '' AS parent, 'publication ' || p.oid AS key,
       pg_get_userbyid(p.pubowner) AS owner, p.puballtables AS all_tables,
       array_remove(ARRAY[CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                          CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END], NULL)
           AS operations,
       p.pubviaroot AS via_root,
       CASE to_jsonb(p) ->> 'pubgencols' WHEN 's' THEN 'stored' END AS generated_columns,
       obj_description(p.oid, 'pg_publication') AS comment
FROM pg_publication p
