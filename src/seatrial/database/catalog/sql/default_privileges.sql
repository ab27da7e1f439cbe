SELECT 'default privileges' AS kind,
       CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types'
            WHEN 'n' THEN 'schemas' ELSE 'large objects' END
           || coalesce(' in ' || quote_ident(n.nspname), '') AS identity,
       '' AS parent, 'default privileges ' || d.oid AS key,
       pg_get_userbyid(d.defaclrole) AS grantor,
       ARRAY(SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END FROM aclexplode(d.defaclacl) a
             ORDER BY a.grantee, a.privilege_type) AS grantees,
       ARRAY(SELECT a.privilege_type || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
             FROM aclexplode(d.defaclacl) a ORDER BY a.grantee, a.privilege_type) AS privileges
FROM pg_default_acl d
LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
WHERE d.defaclnamespace = 0 OR d.defaclnamespace = ANY(%(schemas)s)
