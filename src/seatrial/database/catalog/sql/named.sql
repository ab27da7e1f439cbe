-- Kinds that are compared by name and by the little that makes them what they are.
WITH found (catalog, oid, namespace, kind, identity, owner, about) AS (
    SELECT 'pg_language'::regclass, oid, NULL::oid, 'language', quote_ident(lanname), lanowner,
           ARRAY[CASE WHEN lanpltrusted THEN 'trusted' ELSE 'untrusted' END, nullif(lanplcallfoid, 0)::regprocedure::text]
    FROM pg_language
    UNION ALL
    SELECT 'pg_am'::regclass, oid, NULL, 'access method', quote_ident(amname), NULL, ARRAY[amtype::text, amhandler::text]
    FROM pg_am
    UNION ALL
    SELECT 'pg_cast'::regclass, oid, NULL, 'cast',
           format_type(castsource, NULL) || ' as ' || format_type(casttarget, NULL), NULL,
           ARRAY[castcontext::text, castmethod::text, nullif(castfunc, 0)::regprocedure::text]
    FROM pg_cast
    UNION ALL
    SELECT 'pg_transform'::regclass, t.oid, NULL, 'transform', format_type(trftype, NULL) || ' for ' || quote_ident(lanname),
           NULL, ARRAY[nullif(trffromsql, 0)::regprocedure::text, nullif(trftosql, 0)::regprocedure::text]
    FROM pg_transform t JOIN pg_language l ON l.oid = trflang
    UNION ALL
    SELECT 'pg_operator'::regclass, oid, oprnamespace, 'operator', oid::regoperator::text, oprowner,
           ARRAY[nullif(oprcode, 0)::regprocedure::text, nullif(oprcom, 0)::regoperator::text,
                 nullif(oprnegate, 0)::regoperator::text, 'restrict ' || nullif(oprrest, 0), 'join ' || nullif(oprjoin, 0),
                 CASE WHEN oprcanmerge THEN 'merges' END, CASE WHEN oprcanhash THEN 'hashes' END]
    FROM pg_operator
    UNION ALL
    SELECT 'pg_opfamily'::regclass, f.oid, opfnamespace, 'operator family',
           quote_ident(nspname) || '.' || quote_ident(opfname) || ' using ' || amname, opfowner,
           ARRAY(SELECT 'operator ' || amopstrategy || ' ' || amopopr::regoperator FROM pg_amop WHERE amopfamily = f.oid
                 ORDER BY amopstrategy, amopopr::regoperator::text COLLATE "C")
           || ARRAY(SELECT 'function ' || amprocnum || ' ' || amproc::oid::regprocedure FROM pg_amproc
                    WHERE amprocfamily = f.oid ORDER BY amprocnum, amproc::oid::regprocedure::text COLLATE "C")
    FROM pg_opfamily f JOIN pg_am a ON a.oid = opfmethod JOIN pg_namespace n ON n.oid = opfnamespace
    WHERE opfnamespace = ANY(%(schemas)s)
    UNION ALL
    SELECT 'pg_opclass'::regclass, o.oid, opcnamespace, 'operator class',
           quote_ident(nspname) || '.' || quote_ident(opcname) || ' using ' || amname, opcowner,
           ARRAY[format_type(opcintype, NULL), CASE WHEN opcdefault THEN 'default' END]
    FROM pg_opclass o JOIN pg_am a ON a.oid = opcmethod JOIN pg_namespace n ON n.oid = opcnamespace
    UNION ALL
    SELECT 'pg_conversion'::regclass, c.oid, connamespace, 'conversion',
           quote_ident(nspname) || '.' || quote_ident(conname), conowner,
           ARRAY[pg_encoding_to_char(conforencoding)::text, pg_encoding_to_char(contoencoding), conproc::text,
                 CASE WHEN condefault THEN 'default' END]
    FROM pg_conversion c JOIN pg_namespace n ON n.oid = connamespace
    UNION ALL
    SELECT 'pg_ts_config'::regclass, oid, cfgnamespace, 'text search configuration', oid::regconfig::text, cfgowner,
           ARRAY(SELECT maptokentype || ' ' || mapdict::regdictionary FROM pg_ts_config_map WHERE mapcfg = c.oid
                 ORDER BY maptokentype, mapseqno)
    FROM pg_ts_config c
    UNION ALL
    SELECT 'pg_ts_dict'::regclass, oid, dictnamespace, 'text search dictionary', oid::regdictionary::text, dictowner,
           ARRAY[dictinitoption]
    FROM pg_ts_dict
    UNION ALL
    SELECT 'pg_ts_parser'::regclass, p.oid, prsnamespace, 'text search parser',
           quote_ident(nspname) || '.' || quote_ident(prsname), NULL, ARRAY[prsstart::text, prstoken::text, prsend::text]
    FROM pg_ts_parser p JOIN pg_namespace n ON n.oid = prsnamespace
    UNION ALL
    SELECT 'pg_ts_template'::regclass, t.oid, tmplnamespace, 'text search template',
           quote_ident(nspname) || '.' || quote_ident(tmplname), NULL, ARRAY[tmplinit::text, tmpllexize::text]
    FROM pg_ts_template t JOIN pg_namespace n ON n.oid = tmplnamespace
)
SELECT f.kind, f.identity, '' AS parent, f.catalog || ' ' || f.oid AS key,
       CASE WHEN f.owner <> 0 THEN pg_get_userbyid(f.owner) END AS owner, array_remove(f.about, NULL) AS about,
       x.description AS comment
FROM found f
LEFT JOIN pg_description x ON x.classoid = f.catalog AND x.objoid = f.oid
WHERE f.oid >= 16384 AND (f.namespace IS NULL OR f.namespace = ANY(%(schemas)s))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = f.catalog AND d.objid = f.oid AND d.deptype IN ('e', 'i'))
