-- Tool results that are too long for a request.

-- name: result_add (id, run_id, body, now)
INSERT INTO results (id, run_id, body, created_at) VALUES ($1, $2, $3, $4);

-- name: result_get (id, thread_id)
-- Only by the thread it belongs to.
SELECT results.body FROM results JOIN runs ON runs.id = results.run_id JOIN threads ON threads.no = runs.thread_no
WHERE results.id = $1 AND threads.id = $2;
