-- Steps: the journal of a run.

-- name: step_start (run_id, owner, epoch, kind, name, call_id, idempotent, input, now)
INSERT INTO steps (run_id, seq, kind, status, name, call_id, idempotent, input, started_at)
SELECT id, (SELECT COALESCE(MAX(seq), 0) + 1 FROM steps WHERE run_id = $1), $4, 'started', $5, $6, $7, $8, $9
FROM runs
WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL
RETURNING seq;

-- name: step_finish (run_id, owner, epoch, seq, result, now)
UPDATE steps SET status = 'finished', result = $5, finished_at = $6
WHERE run_id = $1 AND seq = $4 AND status <> 'finished'
  AND EXISTS (SELECT 1 FROM runs WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL);

-- name: steps_give_up (run_id)
-- Nobody knows whether they had their effect.
UPDATE steps SET status = 'unknown' WHERE run_id = $1 AND status = 'started';

-- name: step_list (run_id)
SELECT seq, kind, status, name, call_id, idempotent, input, result, started_at, finished_at FROM steps
WHERE run_id = $1
ORDER BY seq;
