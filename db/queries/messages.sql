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

-- name: message_append_idle (thread_id, role, status, body, now)
-- Only while no run of the thread is active.
INSERT INTO messages (pk, run_id, role, status, body, created_at)
SELECT (no << 20) | next_seq, NULL, $2, $3, $4, $5 FROM threads
WHERE id = $1
  AND NOT EXISTS (SELECT 1 FROM runs
                  WHERE thread_no = threads.no AND status IN ('queued', 'running', 'waiting_tool', 'waiting_approval'))
RETURNING pk & 1048575 AS seq;

-- name: message_list_up (thread_id, after, limit, is_whole)
-- Without those that are deleted, unless is_whole is 1.
SELECT messages.pk & 1048575 AS seq, run_id, role, status, body, created_at, metadata, deleted
FROM messages LEFT JOIN message_notes ON message_notes.pk = messages.pk
WHERE messages.pk > ((SELECT no FROM threads WHERE id = $1) << 20) + $2
  AND messages.pk < ((SELECT no FROM threads WHERE id = $1) + 1) << 20
  AND ($4 = 1 OR COALESCE(deleted, '') <> '["message"]')
ORDER BY messages.pk
LIMIT $3;

-- name: message_list_down (thread_id, before, limit, is_whole)
SELECT messages.pk & 1048575 AS seq, run_id, role, status, body, created_at, metadata, deleted
FROM messages LEFT JOIN message_notes ON message_notes.pk = messages.pk
WHERE messages.pk > (SELECT no FROM threads WHERE id = $1) << 20
  AND messages.pk < ((SELECT no FROM threads WHERE id = $1) << 20) + $2
  AND ($4 = 1 OR COALESCE(deleted, '') <> '["message"]')
ORDER BY messages.pk DESC
LIMIT $3;
