-- Keys of the API, without their secrets.

-- name: secret_create (name, value, now)
INSERT INTO secrets (name, value, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING;

-- name: secret_get (name)
SELECT value FROM secrets WHERE name = $1;

-- name: key_create (id, account_id, name, digest, scopes, limits, replaces, expires_at, now)
INSERT INTO keys (id, account_no, name, digest, scopes, limits, replaces, expires_at, created_at)
SELECT $1, no, $3, $4, $5, $6, $7, $8, $9 FROM accounts WHERE id = $2;

-- name: key_find (id)
SELECT keys.id AS id, keys.name AS name, digest, scopes, limits, replaces, keys.created_at AS created_at, expires_at, revoked_at,
       accounts.no AS account_no, accounts.id AS account, accounts.name AS account_name, is_prepaid, tier
FROM keys JOIN accounts ON accounts.no = keys.account_no
WHERE keys.id = $1;

-- name: key_list ()
-- The oldest first.
SELECT keys.id AS id, keys.name AS name, scopes, limits, replaces, keys.created_at AS created_at, expires_at, revoked_at,
       accounts.no AS account_no, accounts.id AS account, accounts.name AS account_name, is_prepaid, tier
FROM keys JOIN accounts ON accounts.no = keys.account_no
ORDER BY keys.no;

-- name: key_any ()
SELECT EXISTS (SELECT 1 FROM keys) AS found;

-- name: key_revoke (id, at)
-- From then on; an earlier end stays.
UPDATE keys SET revoked_at = CASE WHEN revoked_at IS NULL OR revoked_at > $2 THEN $2 ELSE revoked_at END WHERE id = $1;
