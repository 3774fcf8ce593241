-- Answers to requests with an Idempotency-Key.

-- name: idempotency_begin (account_no, key, request_hash, owner, request_id, now)
-- One of all who ask gets the place.
INSERT INTO idempotency (account_no, key, request_hash, owner, request_id, created_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (account_no, key) DO NOTHING;

-- name: idempotency_get (account_no, key)
SELECT request_hash, owner, request_id, status, headers, body, created_at, finished_at FROM idempotency WHERE account_no = $1 AND key = $2;

-- name: idempotency_take (account_no, key, was, owner, request_id, now)
-- From a process that is gone.
UPDATE idempotency SET owner = $4, request_id = $5, created_at = $6 WHERE account_no = $1 AND key = $2 AND owner = $3 AND status IS NULL;

-- name: idempotency_finish (account_no, key, owner, status, headers, body, now)
UPDATE idempotency SET status = $4, headers = $5, body = $6, finished_at = $7
WHERE account_no = $1 AND key = $2 AND owner = $3 AND status IS NULL;

-- name: idempotency_abandon (account_no, key, owner)
DELETE FROM idempotency WHERE account_no = $1 AND key = $2 AND owner = $3 AND status IS NULL;

-- name: idempotency_sweep (before)
DELETE FROM idempotency WHERE created_at < $1;
