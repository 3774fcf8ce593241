-- Workflows: executions and their steps. Only the owner of an execution moves it on; what a person decides names the epoch that
-- was looked at, so that it cannot meet an execution that has gone on meanwhile.

-- name: workflow_create (name, id, input, owner, now)
INSERT INTO workflows (name, id, status, input, lease_owner, created_at) VALUES ($1, $2, 'running', $3, $4, $5)
RETURNING no;

-- name: workflow_get (name, id)
SELECT no, name, id, status, input, result, error, lease_owner, lease_epoch, crashes, wake_at, created_at, finished_at
FROM workflows
WHERE name = $1 AND id = $2;

-- name: workflow_find (id)
-- An id counts within its workflow: there may be several.
SELECT no, name, id, status, input, result, error, lease_owner, lease_epoch, crashes, wake_at, created_at, finished_at
FROM workflows
WHERE id = $1
ORDER BY no;

-- name: workflow_list (name, status, after, limit)
-- The newest first.
SELECT no, name, id, status, input, result, error, lease_owner, lease_epoch, crashes, wake_at, created_at, finished_at
FROM workflows
WHERE name = COALESCE($1, name) AND status = COALESCE($2, status) AND no < COALESCE($3, 9223372036854775807)
ORDER BY no DESC
LIMIT $4;

-- name: workflow_list_open ()
-- What is not finished, the oldest first.
SELECT no, name, id, status, input, result, error, lease_owner, lease_epoch, crashes, wake_at, created_at, finished_at
FROM workflows
WHERE finished_at IS NULL AND status IN ('running', 'sleeping', 'waiting')
ORDER BY no;

-- name: workflow_claim (no, epoch, owner, crashed)
-- Whoever sees the epoch that the execution still has gets it; `crashed` is 1 when its process was gone.
UPDATE workflows SET status = 'running', lease_owner = $3, lease_epoch = lease_epoch + 1, crashes = crashes + $4, wake_at = NULL
WHERE no = $1 AND lease_epoch = $2 AND finished_at IS NULL;

-- name: workflow_release (no, owner, epoch)
-- Its process ends in good order.
UPDATE workflows SET lease_owner = NULL
WHERE no = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL;

-- name: workflow_stand (no, owner, epoch, status, wake_at)
UPDATE workflows SET status = $4, wake_at = $5
WHERE no = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL;

-- name: workflow_finish (no, owner, epoch, status, result, error, now)
UPDATE workflows SET status = $4, result = $5, error = $6, finished_at = $7, wake_at = NULL
WHERE no = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL;

-- name: workflow_end (no, epoch, status, error, now)
-- Ends an execution from outside, whoever owns it: nothing of it begins from now on.
UPDATE workflows SET status = $3, error = $4, finished_at = $5, wake_at = NULL
WHERE no = $1 AND lease_epoch = $2 AND finished_at IS NULL;

-- name: workflow_steps_give_up (no)
-- Nobody knows whether they had their effect.
UPDATE workflow_steps SET status = 'unknown' WHERE workflow_no = $1 AND status = 'started';

-- name: workflow_step_start (no, owner, epoch, kind, name, status, idempotent, due_at, input, now)
INSERT INTO workflow_steps (workflow_no, seq, kind, name, status, idempotent, due_at, input, started_at)
SELECT no, (SELECT COALESCE(MAX(seq), 0) + 1 FROM workflow_steps WHERE workflow_no = $1), $4, $5, $6, $7, $8, $9, $10
FROM workflows
WHERE no = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL
RETURNING seq;

-- name: workflow_value_add (no, owner, epoch, name, input, result, now)
-- A time, a random number: the same when the execution is gone through again.
INSERT INTO workflow_steps (workflow_no, seq, kind, name, status, input, result, started_at, finished_at)
SELECT no, (SELECT COALESCE(MAX(seq), 0) + 1 FROM workflow_steps WHERE workflow_no = $1), 'value', $4, 'finished', $5, $6, $7, $7
FROM workflows
WHERE no = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL;

-- name: workflow_step_change (no, owner, epoch, seq, status, failures, due_at, error)
UPDATE workflow_steps SET status = $5, failures = $6, due_at = $7, error = $8
WHERE workflow_no = $1 AND seq = $4 AND finished_at IS NULL
  AND EXISTS (SELECT 1 FROM workflows WHERE no = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL);

-- name: workflow_step_end (no, owner, epoch, seq, status, result, error, now)
-- What came of a step is kept even when the execution was cancelled while it ran.
UPDATE workflow_steps SET status = $5, result = $6, error = $7, finished_at = $8
WHERE workflow_no = $1 AND seq = $4 AND finished_at IS NULL
  AND EXISTS (SELECT 1 FROM workflows WHERE no = $1 AND lease_owner = $2 AND lease_epoch = $3
              AND (finished_at IS NULL OR status = 'cancelled'));

-- name: workflow_step_decide (no, epoch, seq, was, status, result, finished_at)
-- A person answers, or says what became of a step. The first one counts.
UPDATE workflow_steps SET status = $5, result = $6, finished_at = $7
WHERE workflow_no = $1 AND seq = $3 AND status = $4
  AND EXISTS (SELECT 1 FROM workflows WHERE no = $1 AND lease_epoch = $2 AND finished_at IS NULL);

-- name: workflow_step_look (no, owner, epoch, seq)
-- A step of an execution that is still its owner's.
SELECT seq, kind, workflow_steps.name AS name, workflow_steps.status AS status, idempotent, failures, due_at,
       workflow_steps.input AS input, workflow_steps.result AS result, workflow_steps.error AS error, started_at,
       workflow_steps.finished_at AS finished_at
FROM workflow_steps JOIN workflows ON workflows.no = workflow_steps.workflow_no
WHERE workflow_no = $1 AND lease_owner = $2 AND lease_epoch = $3 AND workflows.finished_at IS NULL AND seq = $4;

-- name: workflow_step_list (no)
SELECT seq, kind, name, status, idempotent, failures, due_at, input, result, error, started_at, finished_at
FROM workflow_steps
WHERE workflow_no = $1
ORDER BY seq;
