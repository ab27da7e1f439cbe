-- Types that people made: not the row types of tables, nor the arrays and multiranges that come by themselves.
SELECT 'type' AS kind, quote_ident(n.nspname) || '.' || quote_ident(t.typname) AS identity, '' AS parent,
       'type ' || t.oid AS key,
       pg_get_userbyid(t.typowner) AS owner,
       CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite' WHEN 'r' THEN 'range'
                      WHEN 'b' THEN 'base' ELSE 'shell' END AS variety,
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels,
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END AS base,
       CASE WHEN t.typtype = 'd' THEN t.typnotnull END AS not_null,
       t.typdefault AS default,
       CASE WHEN t.typtype = 'd' THEN
            (SELECT t.typcollation::regcollation::text FROM pg_type b
             WHERE b.oid = t.typbasetype AND b.typcollation <> t.typcollation) END AS collation,
       (SELECT array_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
                         || CASE WHEN a.attcollation <> b.typcollation THEN ' collate ' || a.attcollation::regcollation
                                 ELSE '' END
                         || coalesce(' -- ' || col_description(a.attrelid, a.attnum), '') ORDER BY a.attnum)
        FROM pg_attribute a JOIN pg_type b ON b.oid = a.atttypid
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS attributes,
       (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid) AS subtype,
       (SELECT format_type(r.rngmultitypid, NULL) FROM pg_range r WHERE r.rngtypid = t.oid) AS multirange,
       (SELECT array_remove(ARRAY[
                   'operator class ' || o.opcname,
                   'collation ' || nullif(r.rngcollation, 0)::regcollation,
                   'canonical ' || nullif(r.rngcanonical, 0)::regprocedure,
                   'difference ' || nullif(r.rngsubdiff, 0)::regprocedure], NULL)
        FROM pg_range r JOIN pg_opclass o ON o.oid = r.rngsubopc WHERE r.rngtypid = t.oid) AS range,
       CASE WHEN t.typtype = 'b' THEN ARRAY['input ' || t.typinput, 'output ' || t.typoutput, 'length ' || t.typlen,
            'alignment ' || t.typalign::text, 'storage ' || t.typstorage::text, 'category ' || t.typcategory::text] END
           AS representation,
       obj_description(t.oid, 'pg_type') AS comment
FROM pg_type t
JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE n.oid = ANY(%(schemas)s) AND t.typtype <> 'm' AND (t.typrelid = 0 OR c.relkind = 'c')
  AND NOT (t.typtype = 'b' AND t.typsubscript = 'array_subscript_handler'::regproc)
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
