-- Runs. What appends to a run names its owner and epoch; a run that has passed to another owner, or has ended, takes nothing.

-- name: run_create (id, thread_id, assistant, model, owner, has_input, parent, metadata, now, account, asked, expires_at, input_seq)
-- One active run a thread: the index runs_active refuses a second. The input is the next message, or begins where it is said to.
INSERT INTO runs (id, thread_no, assistant, model, status, lease_owner, input_seq, parent, metadata, created_at, started_at, account,
                  asked, expires_at)
SELECT $1, no, $3, $4, 'running', $5, CASE WHEN $6 = 1 THEN COALESCE($13, next_seq) END, $7, $8, $9, $9, $10, $11, $12 FROM threads WHERE id = $2;

-- name: run_get (id)
SELECT runs.id, threads.id AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, parent, crashes, cancel_at, input_seq, output, runs.metadata AS metadata, runs.created_at, started_at, finished_at,
       runs.account AS account, asked, expires_at
FROM runs JOIN threads ON threads.no = runs.thread_no
WHERE runs.id = $1;

-- name: run_active (thread_id)
SELECT runs.id, threads.id AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, parent, crashes, cancel_at, input_seq, output, runs.metadata AS metadata, runs.created_at, started_at, finished_at,
       runs.account AS account, asked, expires_at
FROM runs JOIN threads ON threads.no = runs.thread_no
WHERE threads.id = $1 AND status IN ('queued', 'running', 'waiting_tool', 'waiting_approval');

-- name: run_list (after, limit)
-- The newest first.
SELECT runs.id, threads.id AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, parent, crashes, cancel_at, input_seq, output, runs.metadata AS metadata, runs.created_at, started_at, finished_at,
       runs.account AS account, asked, expires_at
FROM runs JOIN threads ON threads.no = runs.thread_no
WHERE runs.no < COALESCE((SELECT no FROM runs WHERE id = $1), 9223372036854775807)
ORDER BY runs.no DESC
LIMIT $2;

-- name: run_list_of_thread (thread_id, after, limit)
SELECT runs.id, $1 AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, parent, crashes, cancel_at, input_seq, output, metadata, created_at, started_at, finished_at, account,
       asked, expires_at
FROM runs
WHERE thread_no = (SELECT no FROM threads WHERE id = $1)
  AND no < COALESCE((SELECT no FROM runs WHERE id = $2), 9223372036854775807)
ORDER BY no DESC
LIMIT $3;

-- name: run_list_called (id)
-- What this run has called as tools.
SELECT runs.id, threads.key AS thread_key, status, usage, cost_nano
FROM runs JOIN threads ON threads.no = runs.thread_no
WHERE runs.parent = $1 AND threads.key IS NOT NULL;

-- name: run_list_open ()
-- What is not finished, the oldest first: those of the index runs_active.
SELECT runs.id, threads.id AS thread_id, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage,
       cost_nano, parent, crashes, cancel_at, input_seq, output, runs.metadata AS metadata, runs.created_at, started_at, finished_at,
       runs.account AS account, asked, expires_at
FROM runs JOIN threads ON threads.no = runs.thread_no
WHERE runs.no IN (SELECT no FROM runs WHERE status IN ('queued', 'running', 'waiting_tool', 'waiting_approval'))
ORDER BY runs.no;

-- name: run_list_overdue (now)
-- Those of the index runs_active whose time is over: they wait for somebody, or their process is gone.
SELECT id, lease_epoch, lease_owner FROM runs
WHERE no IN (SELECT no FROM runs WHERE status IN ('queued', 'running', 'waiting_tool', 'waiting_approval')) AND expires_at <= $1;

-- name: run_claim (id, epoch, owner, crashed, now)
-- Whoever sees the epoch that the run still has gets it; `crashed` is 1 when its process was gone.
UPDATE runs SET status = 'running', lease_owner = $3, lease_epoch = lease_epoch + 1, crashes = crashes + $4,
                started_at = COALESCE(started_at, $5)
WHERE id = $1 AND lease_epoch = $2 AND finished_at IS NULL;

-- name: run_park (id, owner, epoch, status, usage, cost_nano)
-- It waits for somebody; no process owns it meanwhile. What it has used is known, should nobody come.
UPDATE runs SET status = $4, lease_owner = NULL, usage = $5, cost_nano = $6
WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL;

-- name: run_let_go (owner)
-- A process that ends in good order leaves its runs to the next one.
UPDATE runs SET lease_owner = NULL
WHERE no IN (SELECT no FROM runs WHERE status IN ('queued', 'running', 'waiting_tool', 'waiting_approval')) AND lease_owner = $1;

-- name: run_ask_cancel (id, now)
UPDATE runs SET cancel_at = COALESCE(cancel_at, $2) WHERE id = $1 AND finished_at IS NULL;

-- name: run_hand_over (id, owner, epoch, assistant, model)
UPDATE runs SET assistant = $4, model = $5
WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL;

-- name: run_finish (id, owner, epoch, status, error, usage, cost_nano, output, now)
UPDATE runs SET status = $4, error = $5, usage = $6, cost_nano = $7, output = $8, finished_at = $9, lease_until = NULL
WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL;

-- name: run_interrupt (id, epoch, status, error, now)
-- Ends a run that no living process owns.
UPDATE runs SET status = $3, error = $4, finished_at = $5, lease_until = NULL
WHERE id = $1 AND lease_epoch = $2 AND finished_at IS NULL;
