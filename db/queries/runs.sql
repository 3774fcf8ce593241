-- Runs. What appends to a run names its owner and epoch; a run that has passed to another owner, or has ended, takes nothing.

-- name: run_create (id, thread_id, assistant, model, owner, now)
-- One active run a thread: the index runs_active refuses a second.
INSERT INTO runs (id, thread_no, assistant, model, status, lease_owner, created_at, started_at)
SELECT $1, no, $3, $4, 'running', $5, $6, $6 FROM threads WHERE id = $2;

-- name: run_get (id)
SELECT runs.id, threads.id AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, runs.created_at, started_at, finished_at
FROM runs JOIN threads ON threads.no = runs.thread_no
WHERE runs.id = $1;

-- name: run_active (thread_id)
SELECT runs.id, threads.id AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, runs.created_at, started_at, finished_at
FROM runs JOIN threads ON threads.no = runs.thread_no
WHERE threads.id = $1 AND status IN ('queued', 'running', 'waiting_tool', 'waiting_approval');

-- name: run_list (after, limit)
-- The newest first.
SELECT runs.id, threads.id AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, runs.created_at, started_at, finished_at
FROM runs JOIN threads ON threads.no = runs.thread_no
WHERE runs.no < COALESCE((SELECT no FROM runs WHERE id = $1), 9223372036854775807)
ORDER BY runs.no DESC
LIMIT $2;

-- name: run_list_of_thread (thread_id, after, limit)
SELECT runs.id, $1 AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, created_at, started_at, finished_at
FROM runs
WHERE thread_no = (SELECT no FROM threads WHERE id = $1)
  AND no < COALESCE((SELECT no FROM runs WHERE id = $2), 9223372036854775807)
ORDER BY no DESC
LIMIT $3;

-- name: run_finish (id, owner, epoch, status, error, usage, cost_nano, now)
UPDATE runs SET status = $4, error = $5, usage = $6, cost_nano = $7, finished_at = $8, lease_until = NULL
WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL;

-- name: run_interrupt (id, owner, epoch, error, now)
-- The process that ran it is gone.
UPDATE runs SET status = 'failed', error = $4, finished_at = $5, lease_until = NULL
WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL;
