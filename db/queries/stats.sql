-- How much there is, for `perilune db stats`: rows of each table, and the first and the last time in them.

-- name: stats_tables ()
SELECT 'threads' AS name, COUNT(*) AS row_count, MIN(created_at) AS oldest_at, MAX(updated_at) AS newest_at FROM threads
UNION ALL SELECT 'messages', COUNT(*), MIN(created_at), MAX(created_at) FROM messages
UNION ALL SELECT 'summaries', COUNT(*), MIN(created_at), MAX(created_at) FROM summaries
UNION ALL SELECT 'runs', COUNT(*), MIN(created_at), MAX(COALESCE(finished_at, created_at)) FROM runs
UNION ALL SELECT 'steps', COUNT(*), MIN(started_at), MAX(COALESCE(finished_at, started_at)) FROM steps
UNION ALL SELECT 'attempts', COUNT(*), MIN(started_at), MAX(started_at) FROM attempts
UNION ALL SELECT 'events', COUNT(*), MIN(created_at), MAX(created_at) FROM events
UNION ALL SELECT 'results', COUNT(*), MIN(created_at), MAX(created_at) FROM results
UNION ALL SELECT 'assistants', COUNT(*), MIN(created_at), MAX(updated_at) FROM assistants
UNION ALL SELECT 'workflows', COUNT(*), MIN(created_at), MAX(COALESCE(finished_at, created_at)) FROM workflows
UNION ALL SELECT 'workflow_steps', COUNT(*), MIN(started_at), MAX(COALESCE(finished_at, started_at)) FROM workflow_steps;
