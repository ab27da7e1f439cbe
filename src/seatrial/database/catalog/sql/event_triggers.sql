SELECT 'event trigger' AS kind, quote_ident(e.evtname) AS identity, '' AS parent, 'event trigger ' || e.oid AS key,
       pg_get_userbyid(e.evtowner) AS owner, e.evtevent AS event, e.evttags AS tags,
       e.evtfoid::regprocedure::text AS function,
       CASE e.evtenabled WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' ELSE 'always' END AS enabled,
       obj_description(e.oid, 'pg_event_trigger') AS comment
FROM pg_event_trigger e
WHERE NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e')
