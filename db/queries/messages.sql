-- Messages: pk = threads.no << 20 | seq. Every range is a range of pk.

-- name: message_append (thread_id, run_id, role, status, body, now)
INSERT INTO messages (pk, run_id, role, status, body, created_at)
SELECT (no << 20) | next_seq, $2, $3, $4, $5, $6 FROM threads WHERE id = $1
RETURNING pk & 1048575 AS seq;

-- name: message_append_guarded (thread_id, run_id, owner, epoch, role, status, body, now)
-- Only by the owner of the active run.
INSERT INTO messages (pk, run_id, role, status, body, created_at)
SELECT (threads.no << 20) | threads.next_seq, $2, $5, $6, $7, $8
FROM runs JOIN threads ON threads.no = runs.thread_no
WHERE runs.id = $2 AND runs.lease_owner = $3 AND runs.lease_epoch = $4 AND runs.finished_at IS NULL AND threads.id = $1
RETURNING pk & 1048575 AS seq;

-- name: message_list_up (thread_id, after, limit)
SELECT pk & 1048575 AS seq, run_id, role, status, body, created_at FROM messages
WHERE pk > ((SELECT no FROM threads WHERE id = $1) << 20) + $2
  AND pk < ((SELECT no FROM threads WHERE id = $1) + 1) << 20
ORDER BY pk
LIMIT $3;

-- name: message_list_down (thread_id, before, limit)
SELECT pk & 1048575 AS seq, run_id, role, status, body, created_at FROM messages
WHERE pk > (SELECT no FROM threads WHERE id = $1) << 20
  AND pk < ((SELECT no FROM threads WHERE id = $1) << 20) + $2
ORDER BY pk DESC
LIMIT $3;
