-- Which library provides the locale is settled when the database is made; of the built-in one only the name counts, so
-- that a server that has it and one that has not are the same.
SELECT 'database' AS kind, 'current' AS identity, '' AS parent, 'database ' || d.oid AS key,
       pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
       d.datcollate AS collate, d.datctype AS ctype,
       CASE d.datlocprovider WHEN 'i' THEN 'icu' END AS provider,
       nullif(coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), d.datcollate) AS locale,
       CASE WHEN d.datlocprovider <> 'b' THEN d.datcollversion END AS collation_version,
       nullif(d.datconnlimit, -1) AS connection_limit,
       shobj_description(d.oid, 'pg_database') AS comment
FROM pg_database d
WHERE d.datname = current_database()
