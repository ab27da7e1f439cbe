-- What an extension contains follows from its version.  Its owner is whoever restored it, its comment its package's.
SELECT 'extension' AS kind, quote_ident(e.extname) AS identity, '' AS parent, 'extension ' || e.oid AS key,
       e.extversion AS version, quote_ident(n.nspname) AS schema
FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace
