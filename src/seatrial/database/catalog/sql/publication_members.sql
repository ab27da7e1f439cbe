SELECT 'publication member' AS kind, quote_ident(p.pubname) || ': ' || r.prrelid::regclass AS identity,
       'publication ' || quote_ident(p.pubname) AS parent, 'publication table ' || r.oid AS key,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = r.prrelid AND a.attnum = ANY(r.prattrs)) AS columns,
       pg_get_expr(r.prqual, r.prrelid) AS where
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid
JOIN pg_class c ON c.oid = r.prrelid AND c.relnamespace = ANY(%(schemas)s)
UNION ALL
SELECT 'publication member', quote_ident(p.pubname) || ': schema ' || quote_ident(n.nspname),
       'publication ' || quote_ident(p.pubname), 'publication schema ' || s.oid, NULL, NULL
FROM pg_publication_namespace s
JOIN pg_publication p ON p.oid = s.pnpubid
JOIN pg_namespace n ON n.oid = s.pnnspid AND n.oid = ANY(%(schemas)s)
