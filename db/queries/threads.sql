-- Threads. seq numbers are given out here: message_append takes next_seq, thread_advance moves it on.

-- name: thread_create (id, key, title, metadata, now)
-- Nothing happens when the key is taken: who asks next finds the winner.
INSERT INTO threads (id, key, title, metadata, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT (key) DO NOTHING;

-- name: thread_by_id (id)
SELECT id, key, title, metadata, next_seq, created_at, updated_at FROM threads WHERE id = $1;

-- name: thread_by_key (key)
SELECT id, key, title, metadata, next_seq, created_at, updated_at FROM threads WHERE key = $1;

-- name: thread_get (ref)
SELECT id, key, title, metadata, next_seq, created_at, updated_at FROM threads
WHERE id = $1 OR key = $1
ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END
LIMIT 1;

-- name: thread_list (after, limit)
-- The newest first.
SELECT id, key, title, metadata, next_seq, created_at, updated_at FROM threads
WHERE no < COALESCE((SELECT no FROM threads WHERE id = $1), 9223372036854775807)
ORDER BY no DESC
LIMIT $2;

-- name: thread_latest ()
-- No index on updated_at: it would have to be moved with every message.
SELECT id, key, title, metadata, next_seq, created_at, updated_at FROM threads
WHERE no = COALESCE((SELECT thread_no FROM runs ORDER BY no DESC LIMIT 1), (SELECT MAX(no) FROM threads));

-- name: thread_advance (id, now)
UPDATE threads SET next_seq = next_seq + 1, updated_at = $2 WHERE id = $1;

-- name: thread_delete (id)
-- Its messages, runs, steps and attempts go with it.
DELETE FROM threads WHERE id = $1;
