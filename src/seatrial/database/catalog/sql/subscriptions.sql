-- The connection string holds a password and is closed to ordinary roles.
SELECT 'subscription' AS kind, quote_ident(s.subname) AS identity, '' AS parent, 'subscription ' || s.oid AS key,
       pg_get_userbyid(s.subowner) AS owner, s.subenabled AS enabled, s.subpublications AS publications
FROM pg_subscription s
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
