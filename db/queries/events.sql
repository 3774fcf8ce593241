-- Events of runs, for readers that come back.

-- name: event_add (run_id, owner, epoch, count, body, now)
-- The numbers are given out here, so that there is never a gap. The last batch is looked up, not searched for: a long run has thousands.
INSERT INTO events (run_no, first_seq, last_seq, body, created_at)
SELECT no, last_seq + 1, last_seq + $4, $5, $6
FROM (SELECT no, COALESCE((SELECT last_seq FROM events WHERE run_no = runs.no ORDER BY first_seq DESC LIMIT 1), 0) AS last_seq
      FROM runs
      WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND finished_at IS NULL) AS run;

-- name: event_list (run_id, after, limit)
-- From the batch on that holds the next one.
SELECT first_seq, last_seq, body FROM events
WHERE run_no = (SELECT no FROM runs WHERE id = $1) AND last_seq > $2
  AND first_seq >= COALESCE((SELECT MAX(first_seq) FROM events
                             WHERE run_no = (SELECT no FROM runs WHERE id = $1) AND first_seq <= $2 + 1), 1)
ORDER BY first_seq
LIMIT $3;

-- name: event_last (run_id)
-- The batch that holds the last one.
SELECT body FROM events WHERE run_no = (SELECT no FROM runs WHERE id = $1) ORDER BY first_seq DESC LIMIT 1;
