-- Constraints of tables and domains.  NOT NULL is a facet of its column: it is a constraint only from Postgres 18 on.
-- What a partition has from its parent is left out, unless its triggers are switched differently or it differs.
SELECT 'constraint' AS kind,
       CASE WHEN k.conrelid <> 0 THEN quote_ident(n.nspname) || '.' || quote_ident(c.relname)
            ELSE quote_ident(n.nspname) || '.' || quote_ident(y.typname) END || '.' || quote_ident(k.conname) AS identity,
       CASE WHEN k.conrelid = 0 THEN 'type ' || quote_ident(n.nspname) || '.' || quote_ident(y.typname)
            ELSE CASE c.relkind WHEN 'f' THEN 'foreign table ' ELSE 'table ' END
                 || quote_ident(n.nspname) || '.' || quote_ident(c.relname) END AS parent,
       'constraint ' || k.oid AS key,
       CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'x' THEN 'exclusion'
                      WHEN 'f' THEN 'foreign key' WHEN 'c' THEN 'check' WHEN 't' THEN 'constraint trigger' END AS type,
       CASE WHEN k.contype <> 't' THEN pg_get_constraintdef(k.oid) END AS definition,
       k.convalidated AS validated,
       CASE WHEN k.condeferrable THEN CASE WHEN k.condeferred THEN 'initially deferred' ELSE 'initially immediate' END
       END AS deferrable,
       CASE WHEN NOT (i.indisvalid AND i.indisready AND i.indislive) THEN false END AS index_valid,
       CASE WHEN i.indisclustered THEN true END AS clustered,
       g.switched AS triggers,
       x.description AS comment
FROM pg_constraint k
LEFT JOIN pg_class c ON c.oid = k.conrelid
LEFT JOIN pg_type y ON y.oid = k.contypid
JOIN pg_namespace n ON n.oid = k.connamespace
LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x')
LEFT JOIN (SELECT tgconstraint, array_agg(DISTINCT tgrelid::regclass || ': ' || CASE tgenabled
                      WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' ELSE 'always' END) AS switched
           FROM pg_trigger WHERE tgisinternal AND tgenabled <> 'O' GROUP BY 1) g ON g.tgconstraint = k.oid
LEFT JOIN pg_description x ON x.classoid = 'pg_constraint'::regclass AND x.objoid = k.oid
WHERE n.oid = ANY(%(schemas)s) AND k.contype IN ('p', 'u', 'x', 'f', 'c')
  AND (c.relpersistence IS NULL OR c.relpersistence <> 't')
  AND (k.conislocal AND k.conparentid = 0 OR g.switched IS NOT NULL OR x.description IS NOT NULL OR i.indisclustered
       OR NOT k.convalidated AND k.conparentid = 0)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.deptype = 'e' AND
                  (d.classid = 'pg_class'::regclass AND d.objid = k.conrelid
                   OR d.classid = 'pg_type'::regclass AND d.objid = k.contypid))
