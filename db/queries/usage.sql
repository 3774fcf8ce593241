-- Attempts, and sums over them. Unpriced attempts are counted, not taken for free ones.

-- name: attempt_add (run_id, step_seq, n, provider, model, status, outcome, started_at, first_event_ms, duration_ms, prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, cost_nano, price, estimated, error, request_id)
INSERT INTO attempts (run_id, step_seq, n, provider, model, status, outcome, started_at, first_event_ms, duration_ms,
                      prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, cost_nano,
                      price, estimated, error, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20);

-- name: attempt_list (run_id)
SELECT step_seq, n, provider, model, status, outcome, started_at, first_event_ms, duration_ms, prompt_tokens,
       completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, cost_nano, price, estimated, error
FROM attempts
WHERE run_id = $1
ORDER BY id;

-- name: usage_by_model (since)
SELECT provider, model, COUNT(*) AS attempts, COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens,
       COALESCE(SUM(completion_tokens), 0) AS completion_tokens, COALESCE(SUM(cached_tokens), 0) AS cached_tokens,
       COALESCE(SUM(reasoning_tokens), 0) AS reasoning_tokens, SUM(cost_nano) AS cost_nano,
       COUNT(*) - COUNT(cost_nano) AS unpriced
FROM attempts
WHERE started_at >= $1
GROUP BY provider, model
ORDER BY provider, model;

-- name: usage_by_provider (since)
SELECT provider, COUNT(*) AS attempts, COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens,
       COALESCE(SUM(completion_tokens), 0) AS completion_tokens, COALESCE(SUM(cached_tokens), 0) AS cached_tokens,
       COALESCE(SUM(reasoning_tokens), 0) AS reasoning_tokens, SUM(cost_nano) AS cost_nano,
       COUNT(*) - COUNT(cost_nano) AS unpriced
FROM attempts
WHERE started_at >= $1
GROUP BY provider
ORDER BY provider;

-- name: usage_by_day (since)
-- Days of UTC, as days since 1970-01-01.
SELECT started_at / 86400000 AS day_number, COUNT(*) AS attempts, COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens,
       COALESCE(SUM(completion_tokens), 0) AS completion_tokens, COALESCE(SUM(cached_tokens), 0) AS cached_tokens,
       COALESCE(SUM(reasoning_tokens), 0) AS reasoning_tokens, SUM(cost_nano) AS cost_nano,
       COUNT(*) - COUNT(cost_nano) AS unpriced
FROM attempts
WHERE started_at >= $1
GROUP BY started_at / 86400000
ORDER BY day_number;
