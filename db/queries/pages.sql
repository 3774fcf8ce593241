-- Lists of the server, page by page in both directions: what lies between two things, each of which may be missing (NULL).

-- name: run_page_up (thread_id, lower, upper, limit)
-- Without those that are deleted.
SELECT runs.id, $1 AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, parent, crashes, cancel_at, input_seq, output, COALESCE(run_notes.metadata, runs.metadata) AS metadata, created_at,
       started_at, finished_at, account, asked, expires_at
FROM runs LEFT JOIN run_notes ON run_notes.run_id = runs.id
WHERE thread_no = (SELECT no FROM threads WHERE id = $1) AND deleted_at IS NULL
  AND no > COALESCE((SELECT no FROM runs WHERE id = $2), 0)
  AND no < COALESCE((SELECT no FROM runs WHERE id = $3), 9223372036854775807)
ORDER BY no
LIMIT $4;

-- name: run_page_down (thread_id, lower, upper, limit)
SELECT runs.id, $1 AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, parent, crashes, cancel_at, input_seq, output, COALESCE(run_notes.metadata, runs.metadata) AS metadata, created_at,
       started_at, finished_at, account, asked, expires_at
FROM runs LEFT JOIN run_notes ON run_notes.run_id = runs.id
WHERE thread_no = (SELECT no FROM threads WHERE id = $1) AND deleted_at IS NULL
  AND no > COALESCE((SELECT no FROM runs WHERE id = $2), 0)
  AND no < COALESCE((SELECT no FROM runs WHERE id = $3), 9223372036854775807)
ORDER BY no DESC
LIMIT $4;

-- name: assistant_page_up (account, lower, upper, limit)
-- Those of an account; without one, all. The place of one that was deleted is known from its id: they sort as they were made.
SELECT id, name, definition, metadata, created_at, updated_at, account FROM assistants
WHERE ($1 IS NULL OR account = $1)
  AND no > COALESCE((SELECT no FROM assistants WHERE id = $2), (SELECT MAX(no) FROM assistants WHERE id < $2), 0)
  AND no < COALESCE((SELECT no FROM assistants WHERE id = $3), (SELECT MIN(no) FROM assistants WHERE id > $3), 9223372036854775807)
ORDER BY no
LIMIT $4;

-- name: assistant_page_down (account, lower, upper, limit)
SELECT id, name, definition, metadata, created_at, updated_at, account FROM assistants
WHERE ($1 IS NULL OR account = $1)
  AND no > COALESCE((SELECT no FROM assistants WHERE id = $2), (SELECT MAX(no) FROM assistants WHERE id < $2), 0)
  AND no < COALESCE((SELECT no FROM assistants WHERE id = $3), (SELECT MIN(no) FROM assistants WHERE id > $3), 9223372036854775807)
ORDER BY no DESC
LIMIT $4;
