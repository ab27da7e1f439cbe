-- Options of user mappings are passwords: only that a mapping exists is read.
SELECT 'foreign data wrapper' AS kind, quote_ident(w.fdwname) AS identity, '' AS parent, 'wrapper ' || w.oid AS key,
       pg_get_userbyid(w.fdwowner) AS owner, nullif(w.fdwhandler, 0)::regprocedure::text AS handler,
       nullif(w.fdwvalidator, 0)::regprocedure::text AS validator, NULL AS wrapper, NULL AS type, NULL AS version,
       w.fdwoptions AS options, obj_description(w.oid, 'pg_foreign_data_wrapper') AS comment
FROM pg_foreign_data_wrapper w
WHERE NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_foreign_data_wrapper'::regclass AND d.objid = w.oid AND d.deptype = 'e')
UNION ALL
SELECT 'foreign server', quote_ident(s.srvname), '', 'server ' || s.oid, pg_get_userbyid(s.srvowner), NULL, NULL,
       quote_ident(w.fdwname), s.srvtype, s.srvversion, s.srvoptions, obj_description(s.oid, 'pg_foreign_server')
FROM pg_foreign_server s
JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
UNION ALL
SELECT 'user mapping', quote_ident(m.srvname) || ' for ' || m.usename, 'foreign server ' || quote_ident(m.srvname),
       'mapping ' || m.umid, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM pg_user_mappings m
