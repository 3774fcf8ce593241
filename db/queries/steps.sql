-- Steps: the journal of a run. Only the owner of the active run writes it; nothing begins once it was asked to end.

-- name: step_start (run_id, owner, epoch, kind, name, call_id, idempotent, input, now)
INSERT INTO steps (run_id, seq, kind, status, name, call_id, idempotent, input, started_at)
SELECT id, (SELECT COALESCE(MAX(seq), 0) + 1 FROM steps WHERE run_id = $1), $4, 'started', $5, $6, $7, $8, $9
FROM runs
WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL AND cancel_at IS NULL
RETURNING seq;

-- name: step_wait (run_id, owner, epoch, kind, waits_for, name, call_id, idempotent, input, now)
-- It does not begin before somebody has decided.
INSERT INTO steps (run_id, seq, kind, status, waits_for, name, call_id, idempotent, input, started_at)
SELECT id, (SELECT COALESCE(MAX(seq), 0) + 1 FROM steps WHERE run_id = $1), $4, 'waiting', $5, $6, $7, $8, $9, $10
FROM runs
WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL AND cancel_at IS NULL
RETURNING seq;

-- name: step_begin (run_id, owner, epoch, seq, now)
-- A step that waited, or one that may be done again, begins.
UPDATE steps SET status = 'started', started_at = $5
WHERE run_id = $1 AND seq = $4 AND status <> 'finished'
  AND EXISTS (SELECT 1 FROM runs WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL AND cancel_at IS NULL);

-- name: step_hold (run_id, owner, epoch, seq, waits_for)
-- It began and nobody knows whether it had its effect: a person decides.
UPDATE steps SET status = 'waiting', waits_for = $5, decision = NULL
WHERE run_id = $1 AND seq = $4 AND status <> 'finished'
  AND EXISTS (SELECT 1 FROM runs WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL);

-- name: step_decide (run_id, seq, decision)
-- The first decision counts.
UPDATE steps SET decision = $3
WHERE run_id = $1 AND seq = $2 AND status = 'waiting' AND decision IS NULL
  AND EXISTS (SELECT 1 FROM runs WHERE id = $1 AND finished_at IS NULL);

-- name: step_finish (run_id, owner, epoch, seq, result, now)
UPDATE steps SET status = 'finished', result = $5, finished_at = $6
WHERE run_id = $1 AND seq = $4 AND status <> 'finished'
  AND EXISTS (SELECT 1 FROM runs WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL);

-- name: step_lose (run_id, owner, epoch, seq)
-- A model call whose answer is lost; it is made again as a step of its own.
UPDATE steps SET status = 'unknown'
WHERE run_id = $1 AND seq = $4 AND status = 'started'
  AND EXISTS (SELECT 1 FROM runs WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL);

-- name: steps_give_up (run_id)
-- Nobody knows whether they had their effect.
UPDATE steps SET status = 'unknown' WHERE run_id = $1 AND status IN ('started', 'waiting');

-- name: step_list (run_id)
SELECT seq, kind, status, waits_for, decision, name, call_id, idempotent, input, result, started_at, finished_at FROM steps
WHERE run_id = $1
ORDER BY seq;
