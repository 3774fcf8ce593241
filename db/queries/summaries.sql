-- Summaries of the older messages of a thread.

-- name: summary_add (thread_id, upto_seq, run_id, body, now)
INSERT INTO summaries (thread_no, upto_seq, run_id, body, created_at) SELECT no, $2, $3, $4, $5 FROM threads WHERE id = $1
ON CONFLICT (thread_no, upto_seq) DO NOTHING;

-- name: summary_latest (thread_id)
SELECT upto_seq, body, run_id, created_at FROM summaries
WHERE thread_no = (SELECT no FROM threads WHERE id = $1)
ORDER BY upto_seq DESC
LIMIT 1;
