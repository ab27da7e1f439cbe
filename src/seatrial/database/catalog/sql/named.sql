SELECT 'language' AS kind, quote_ident(l.lanname) AS identity, '' AS parent, 'language ' || l.oid AS key,
       pg_get_userbyid(l.lanowner) AS owner, l.lanpltrusted AS trusted
FROM pg_language l
WHERE l.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_language'::regclass AND d.objid = l.oid AND d.deptype = 'e')
