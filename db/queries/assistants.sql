-- Assistants that are rows; those of scripts live beside them.

-- name: assistant_create (id, name, definition, metadata, now, account)
INSERT INTO assistants (id, name, definition, metadata, created_at, updated_at, account) VALUES ($1, $2, $3, $4, $5, $5, $6)
ON CONFLICT (name, COALESCE(account, '')) DO NOTHING;

-- name: assistant_get (ref, account)
-- By its id, or by its name: first of the account, then of this machine, then of whoever was the first to use it.
SELECT id, name, definition, metadata, created_at, updated_at, account FROM assistants
WHERE id = $1 OR name = $1
ORDER BY id = $1 DESC, account IS $2 DESC, account IS NULL DESC, no
LIMIT 1;

-- name: assistant_list (after, limit)
-- The newest first.
SELECT id, name, definition, metadata, created_at, updated_at, account FROM assistants
WHERE no < COALESCE((SELECT no FROM assistants WHERE id = $1), 9223372036854775807)
ORDER BY no DESC
LIMIT $2;

-- name: assistant_update (id, seen, name, definition, metadata, now)
-- `seen` is the updated_at that the caller has read: of two who change the same row, the second has to look again.
UPDATE assistants SET name = $3, definition = $4, metadata = $5, updated_at = $6 WHERE id = $1 AND updated_at = $2;

-- name: assistant_delete (id)
DELETE FROM assistants WHERE id = $1;
