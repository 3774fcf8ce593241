-- Events of runs, for readers that come back.

-- name: event_add (run_id, owner, epoch, count, body, now)
-- The numbers are given out here, so that there is never a gap.
INSERT INTO events (run_no, first_seq, last_seq, body, created_at)
SELECT no, (SELECT COALESCE(MAX(last_seq), 0) + 1 FROM events WHERE run_no = runs.no),
       (SELECT COALESCE(MAX(last_seq), 0) + $4 FROM events WHERE run_no = runs.no), $5, $6
FROM runs
WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL;

-- name: event_list (run_id, after, limit)
SELECT first_seq, last_seq, body FROM events
WHERE run_no = (SELECT no FROM runs WHERE id = $1) AND last_seq > $2
ORDER BY first_seq
LIMIT $3;
