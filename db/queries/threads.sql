-- Threads. seq numbers are given out here: message_append takes next_seq, thread_advance moves it on.

-- name: thread_create (id, key, title, metadata, now, account)
-- Nothing happens when the key is taken: who asks next finds the winner.
INSERT INTO threads (id, key, title, metadata, created_at, updated_at, account)
VALUES ($1, $2, $3, $4, $5, $5, $6)
ON CONFLICT (key) DO NOTHING;

-- name: thread_by_id (id)
SELECT id, key, title, metadata, next_seq, created_at, updated_at, account FROM threads WHERE id = $1;

-- name: thread_by_key (key)
SELECT id, key, title, metadata, next_seq, created_at, updated_at, account FROM threads WHERE key = $1;

-- name: thread_get (ref)
SELECT id, key, title, metadata, next_seq, created_at, updated_at, account FROM threads
WHERE id = $1 OR key = $1
ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END
LIMIT 1;

-- name: thread_list (after, limit)
-- The newest first.
SELECT id, key, title, metadata, next_seq, created_at, updated_at, account FROM threads
WHERE no < COALESCE((SELECT no FROM threads WHERE id = $1), 9223372036854775807)
ORDER BY no DESC
LIMIT $2;

-- name: thread_latest ()
-- No index on updated_at: it would have to be moved with every message.
SELECT id, key, title, metadata, next_seq, created_at, updated_at, account FROM threads
WHERE no = COALESCE((SELECT thread_no FROM runs ORDER BY no DESC LIMIT 1), (SELECT MAX(no) FROM threads));

-- name: thread_advance (id, now)
UPDATE threads SET next_seq = next_seq + 1, updated_at = $2 WHERE id = $1;

-- name: thread_delete (id)
-- Its messages, runs, steps and attempts go with it, and the threads of the runs that its runs have called as tools.
DELETE FROM threads WHERE no IN (
    WITH RECURSIVE gone (no) AS (
        SELECT no FROM threads WHERE id = $1
        UNION
        SELECT called.thread_no
        FROM gone JOIN runs ON runs.thread_no = gone.no JOIN runs AS called ON called.parent = runs.id AND called.parent IS NOT NULL
    )
    SELECT no FROM gone
);

-- name: thread_update (id, has_title, title, has_metadata, metadata, now)
UPDATE threads SET title = CASE WHEN $2 = 1 THEN $3 ELSE title END, metadata = CASE WHEN $4 = 1 THEN $5 ELSE metadata END,
                   updated_at = $6
WHERE id = $1;

-- name: thread_fork (id, source_id, upto_seq)
-- The messages up to there, as they are; they belong to no run of the new thread.
INSERT INTO messages (pk, run_id, role, status, body, created_at)
SELECT (fresh.no << 20) | (messages.pk & 1048575), NULL, role, status, body, messages.created_at
FROM threads AS source
JOIN messages ON messages.pk > source.no << 20 AND messages.pk <= (source.no << 20) + $3
JOIN threads AS fresh ON fresh.id = $1
WHERE source.id = $2;

-- name: thread_fork_notes (id, source_id, upto_seq)
-- What was deleted of them stays so.
INSERT INTO message_notes (pk, metadata, deleted)
SELECT (fresh.no << 20) | (message_notes.pk & 1048575), message_notes.metadata, message_notes.deleted
FROM threads AS source
JOIN message_notes ON message_notes.pk > source.no << 20 AND message_notes.pk <= (source.no << 20) + $3
JOIN threads AS fresh ON fresh.id = $1
WHERE source.id = $2;

-- name: thread_fork_summaries (id, source_id, upto_seq)
-- The summaries of these messages: they need not be made again.
INSERT INTO summaries (thread_no, upto_seq, run_id, body, created_at)
SELECT fresh.no, summaries.upto_seq, NULL, body, summaries.created_at
FROM threads AS source
JOIN summaries ON summaries.thread_no = source.no AND summaries.upto_seq <= $3
JOIN threads AS fresh ON fresh.id = $1
WHERE source.id = $2;

-- name: thread_forked (id)
-- The numbers that thread_fork has used.
UPDATE threads SET next_seq = 1 + (SELECT COUNT(*) FROM messages WHERE pk > threads.no << 20 AND pk < (threads.no + 1) << 20)
WHERE id = $1;

-- name: thread_search (text, json_text, after, limit)
-- Threads whose key, title, metadata or messages hold the text; the newest first. Both are LIKE patterns, the second one of the text as
-- JSON has it. JSON also has names of fields: whoever asks looks again.
SELECT id, key, title, metadata, next_seq, created_at, updated_at, account FROM threads
WHERE no < COALESCE((SELECT no FROM threads WHERE id = $3), 9223372036854775807)
  AND (key LIKE $1 ESCAPE '\' OR title LIKE $1 ESCAPE '\' OR metadata LIKE $2 ESCAPE '\'
       OR EXISTS (SELECT 1 FROM messages
                  WHERE pk > threads.no << 20 AND pk < (threads.no + 1) << 20 AND body LIKE $2 ESCAPE '\'))
ORDER BY no DESC
LIMIT $4;

-- name: thread_search_messages (thread_id, json_text, after, limit)
-- Without those that are deleted.
SELECT messages.pk & 1048575 AS seq, body, deleted
FROM messages LEFT JOIN message_notes ON message_notes.pk = messages.pk
WHERE messages.pk > ((SELECT no FROM threads WHERE id = $1) << 20) + $3
  AND messages.pk < ((SELECT no FROM threads WHERE id = $1) + 1) << 20
  AND body LIKE $2 ESCAPE '\' AND COALESCE(deleted, '') <> '["message"]'
ORDER BY messages.pk
LIMIT $4;

-- name: thread_summaries (thread_id)
-- For an export.
SELECT upto_seq, run_id, body, created_at FROM summaries
WHERE thread_no = (SELECT no FROM threads WHERE id = $1)
ORDER BY upto_seq;

-- name: thread_results (run_id)
-- For an export: the tool results of a run that were too long for a request.
SELECT id, body, created_at FROM results WHERE run_id = $1 ORDER BY created_at, id;
