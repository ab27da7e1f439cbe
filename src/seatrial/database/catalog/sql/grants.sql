-- Who may do what: one row for each object and grantee, the owner's too, which become a facet of the object where they
-- are not all there is.  An object that has no list has the server's default one.  Of objects of extensions and of the
-- server itself only those grantees are here whose privileges are not what the object came with; of an extension's also
-- those who have none any more.
WITH object (catalog, oid, sub, object, type, owner, acl, system) AS (
    SELECT 'pg_class'::regclass, c.oid, 0,
           CASE c.relkind WHEN 'S' THEN 'sequence ' WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view '
                WHEN 'f' THEN 'foreign table ' ELSE 'table ' END || c.oid::regclass,
           CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END, c.relowner, c.relacl, c.relnamespace = 'pg_catalog'::regnamespace
    FROM pg_class c
    WHERE c.relacl IS NOT NULL AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND c.relnamespace = ANY(%(schemas)s::oid[] || 'pg_catalog'::regnamespace::oid)
    UNION ALL
    SELECT 'pg_class'::regclass, c.oid, a.attnum, 'column ' || c.oid::regclass || '.' || quote_ident(a.attname), 'c',
           c.relowner, a.attacl, c.relnamespace = 'pg_catalog'::regnamespace
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
      AND c.relnamespace = ANY(%(schemas)s::oid[] || 'pg_catalog'::regnamespace::oid)
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, 0,
           CASE p.prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' ELSE 'function ' END || p.oid::regprocedure,
           'f', p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), p.pronamespace = 'pg_catalog'::regnamespace
    FROM pg_proc p
    WHERE p.pronamespace = ANY(%(schemas)s) OR p.proacl IS NOT NULL AND p.pronamespace = 'pg_catalog'::regnamespace
    UNION ALL
    SELECT 'pg_namespace'::regclass, n.oid, 0, 'schema ' || quote_ident(n.nspname), 'n', n.nspowner, n.nspacl,
           n.oid = 'pg_catalog'::regnamespace
    FROM pg_namespace n WHERE n.nspacl IS NOT NULL AND n.oid = ANY(%(schemas)s::oid[] || 'pg_catalog'::regnamespace::oid)
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid, 0, 'type ' || format_type(t.oid, NULL), 'T', t.typowner,
           coalesce(t.typacl, acldefault('T', t.typowner)), t.typnamespace = 'pg_catalog'::regnamespace
    FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typacl IS NOT NULL AND t.typnamespace = 'pg_catalog'::regnamespace
       OR t.typnamespace = ANY(%(schemas)s) AND t.typtype <> 'm' AND (t.typrelid = 0 OR c.relkind = 'c')
          AND NOT (t.typtype = 'b' AND t.typsubscript = 'array_subscript_handler'::regproc)
    UNION ALL
    SELECT 'pg_database'::regclass, d.oid, 0, 'database current', 'd', d.datdba,
           coalesce(d.datacl, acldefault('d', d.datdba)), false
    FROM pg_database d WHERE d.datname = current_database()
    UNION ALL
    SELECT 'pg_foreign_data_wrapper'::regclass, w.oid, 0, 'foreign data wrapper ' || quote_ident(w.fdwname), 'F',
           w.fdwowner, w.fdwacl, false
    FROM pg_foreign_data_wrapper w WHERE w.fdwacl IS NOT NULL
    UNION ALL
    SELECT 'pg_foreign_server'::regclass, s.oid, 0, 'foreign server ' || quote_ident(s.srvname), 'S', s.srvowner,
           s.srvacl, false
    FROM pg_foreign_server s WHERE s.srvacl IS NOT NULL
    UNION ALL
    SELECT 'pg_language'::regclass, l.oid, 0, 'language ' || quote_ident(l.lanname), 'l', l.lanowner, l.lanacl,
           l.oid < 16384
    FROM pg_language l WHERE l.lanacl IS NOT NULL
), listed AS (
    SELECT o.*, coalesce(i.initprivs, acldefault(o.type::"char", o.owner)) AS initial,
           o.system OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.catalog AND d.objid = o.oid AND d.deptype IN ('e', 'i'))
           AS came
    FROM object o LEFT JOIN pg_init_privs i ON i.classoid = o.catalog AND i.objoid = o.oid AND i.objsubid = o.sub
)
SELECT o.object, o.type, pg_get_userbyid(o.owner) AS owner,
       CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END AS grantee, g.privileges
FROM listed o
CROSS JOIN LATERAL (
    SELECT a.grantee, array_agg(a.privilege_type ORDER BY a.privilege_type) AS plain,
           array_agg(a.privilege_type || CASE WHEN a.is_grantable AND a.grantee <> o.owner THEN ' WITH GRANT OPTION' ELSE '' END
                     ORDER BY a.privilege_type) AS privileges
    FROM (SELECT * FROM aclexplode(o.acl)
          UNION ALL SELECT o.owner, o.owner, NULL, false
          WHERE NOT EXISTS (SELECT FROM aclexplode(o.acl) e WHERE e.grantee = o.owner)
          UNION ALL SELECT DISTINCT i.grantor, i.grantee, NULL, false FROM aclexplode(o.initial) i
          WHERE o.came AND NOT o.system AND i.grantee <> i.grantor
            AND NOT EXISTS (SELECT FROM aclexplode(o.acl) e WHERE e.grantee = i.grantee)) a
    GROUP BY a.grantee) g
WHERE NOT o.came OR o.acl IS DISTINCT FROM o.initial AND g.plain IS DISTINCT FROM (
    SELECT array_agg(i.privilege_type ORDER BY i.privilege_type) FROM aclexplode(o.initial) i
    WHERE i.grantee = g.grantee AND i.grantee <> i.grantor OR i.grantee = i.grantor AND g.grantee = o.owner)
