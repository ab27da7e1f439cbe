SELECT 'aggregate' AS kind, p.oid::regprocedure::text AS identity, '' AS parent, 'function ' || p.oid AS key,
       pg_get_userbyid(p.proowner) AS owner,
       pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result,
       CASE g.aggkind WHEN 'o' THEN 'ordered set' WHEN 'h' THEN 'hypothetical set' END AS variety,
       g.aggtransfn::regprocedure::text AS transition, format_type(g.aggtranstype, NULL) AS state,
       g.agginitval AS initial,
       nullif(g.aggfinalfn, 0)::regprocedure::text AS final, g.aggfinalmodify::text AS final_modify,
       nullif(g.aggcombinefn, 0)::regprocedure::text AS combine,
       nullif(g.aggserialfn, 0)::regprocedure::text AS serialize,
       nullif(g.aggdeserialfn, 0)::regprocedure::text AS deserialize,
       nullif(g.aggmtransfn, 0)::regprocedure::text AS moving_transition,
       nullif(g.aggminvtransfn, 0)::regprocedure::text AS moving_inverse,
       nullif(g.aggmfinalfn, 0)::regprocedure::text AS moving_final,
       CASE WHEN g.aggmtranstype <> 0 THEN format_type(g.aggmtranstype, NULL) END AS moving_state,
       g.aggminitval AS moving_initial,
       nullif(g.aggsortop, 0)::regoperator::text AS sort_operator, p.proparallel::text AS parallel,
       obj_description(p.oid, 'pg_proc') AS comment
FROM pg_aggregate g
JOIN pg_proc p ON p.oid = g.aggfnoid
WHERE p.pronamespace = ANY(%(schemas)s)
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
