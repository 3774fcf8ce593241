-- What must always be true. Each statement returns a row {problem} for each place where it is not. The first three are
-- SQLite's own.

-- name: database_info ()
SELECT (SELECT user_version FROM pragma_user_version) AS schema_version, sqlite_version() AS sqlite_version,
       (SELECT journal_mode FROM pragma_journal_mode) AS journal_mode,
       (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) AS size;

-- name: check_1_integrity ()
SELECT integrity_check AS problem FROM pragma_integrity_check WHERE integrity_check <> 'ok';

-- name: check_2_foreign_keys ()
SELECT 'a row of ' || "table" || ' (' || COALESCE(rowid, '?') || ') names a row of ' || parent || ' that does not exist' AS problem
FROM pragma_foreign_key_check;

-- name: check_message_seqs ()
SELECT 'thread ' || threads.id || ' has given out ' || (next_seq - 1) || ' message numbers, but holds ' || COALESCE(found.n, 0)
       || ' messages numbered ' || COALESCE(found.first_seq, 0) || ' to ' || COALESCE(found.last_seq, 0) AS problem
FROM threads
LEFT JOIN (SELECT pk >> 20 AS thread_no, COUNT(*) AS n, MIN(pk & 1048575) AS first_seq, MAX(pk & 1048575) AS last_seq
           FROM messages GROUP BY pk >> 20) AS found ON found.thread_no = threads.no
WHERE COALESCE(found.n, 0) <> next_seq - 1 OR COALESCE(found.last_seq, 0) <> next_seq - 1 OR COALESCE(found.first_seq, 1) <> 1;

-- name: check_message_threads ()
SELECT 'message ' || (pk & 1048575) || ' belongs to thread number ' || (pk >> 20) || ', which does not exist' AS problem
FROM messages
WHERE NOT EXISTS (SELECT 1 FROM threads WHERE no = pk >> 20);

-- name: check_message_runs ()
SELECT 'message ' || (pk & 1048575) || ' of thread number ' || (pk >> 20) || ' names the run ' || run_id
       || ', which is not a run of that thread' AS problem
FROM messages
WHERE run_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = messages.run_id AND runs.thread_no = messages.pk >> 20);

-- name: check_runs_active ()
SELECT 'thread number ' || thread_no || ' has ' || COUNT(*) || ' active runs' AS problem
FROM runs
WHERE finished_at IS NULL
GROUP BY thread_no
HAVING COUNT(*) > 1;

-- name: check_runs_finished ()
SELECT 'run ' || id || ' is ' || status || CASE WHEN finished_at IS NULL THEN ' but has not finished' ELSE ' but has finished' END
       AS problem
FROM runs
WHERE (finished_at IS NULL) <> (status IN ('queued', 'running', 'waiting_tool', 'waiting_approval'));

-- name: check_step_runs ()
SELECT 'step ' || seq || ' belongs to the run ' || run_id || ', which does not exist' AS problem
FROM steps
WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = steps.run_id);

-- name: check_step_seqs ()
SELECT 'run ' || run_id || ' has ' || COUNT(*) || ' steps numbered ' || MIN(seq) || ' to ' || MAX(seq) AS problem
FROM steps
GROUP BY run_id
HAVING MIN(seq) <> 1 OR MAX(seq) <> COUNT(*);

-- name: check_steps_open ()
SELECT 'step ' || seq || ' of run ' || run_id || ' is still started, but the run is ' || runs.status AS problem
FROM steps JOIN runs ON runs.id = steps.run_id
WHERE steps.status = 'started' AND runs.finished_at IS NOT NULL;

-- name: check_attempt_steps ()
SELECT 'attempt ' || id || ' names step ' || step_seq || ' of run ' || run_id || ', which does not exist' AS problem
FROM attempts
WHERE run_id IS NOT NULL AND step_seq IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM steps WHERE steps.run_id = attempts.run_id AND steps.seq = attempts.step_seq);

-- name: check_event_seqs ()
SELECT 'run number ' || run_no || ' has events numbered ' || MIN(first_seq) || ' to ' || MAX(last_seq) || ', but holds '
       || SUM(last_seq - first_seq + 1) AS problem
FROM events
GROUP BY run_no
HAVING MIN(first_seq) <> 1 OR SUM(last_seq - first_seq + 1) <> MAX(last_seq);

-- name: check_summaries ()
SELECT 'a summary of thread number ' || thread_no || ' speaks for messages up to ' || upto_seq || ', which are not all there' AS problem
FROM summaries JOIN threads ON threads.no = summaries.thread_no
WHERE upto_seq >= threads.next_seq;

-- name: check_workflow_step_seqs ()
SELECT 'workflow number ' || workflow_no || ' has ' || COUNT(*) || ' steps numbered ' || MIN(seq) || ' to ' || MAX(seq) AS problem
FROM workflow_steps
GROUP BY workflow_no
HAVING MIN(seq) <> 1 OR MAX(seq) <> COUNT(*);

-- name: check_workflow_steps_open ()
SELECT 'step ' || workflow_steps.name || ' of workflow ' || workflows.name || ' ' || workflows.id || ' is still started, but that is '
       || workflows.status AS problem
FROM workflow_steps JOIN workflows ON workflows.no = workflow_steps.workflow_no
WHERE workflow_steps.status = 'started' AND workflows.finished_at IS NOT NULL;

-- name: check_ledger_sums ()
SELECT 'the entries of transaction ' || transactions.no || ' (' || kind || ' ' || request_id || ') add up to '
       || COALESCE(found.total, 0) || ', and are ' || COALESCE(found.n, 0) || ' accounts' AS problem
FROM transactions
LEFT JOIN (SELECT transaction_no, SUM(amount) AS total, COUNT(*) AS n FROM entries GROUP BY transaction_no) AS found
       ON found.transaction_no = transactions.no
WHERE COALESCE(found.total, 1) <> 0 OR found.n < 2;

-- name: check_ledger_balances ()
SELECT 'account ' || id || ' has a balance of ' || balance || ', but its entries add up to ' || COALESCE(found.total, 0) AS problem
FROM accounts
LEFT JOIN (SELECT account, SUM(amount) AS total FROM entries GROUP BY account) AS found ON found.account = accounts.id
WHERE balance <> COALESCE(found.total, 0);

-- name: check_ledger_holds ()
SELECT 'account ' || id || ' has ' || held || ' held, but its open holds add up to ' || COALESCE(found.total, 0) AS problem
FROM accounts
LEFT JOIN (SELECT account_no, SUM(amount) AS total FROM holds WHERE state = 'open' GROUP BY account_no) AS found
       ON found.account_no = accounts.no
WHERE held <> COALESCE(found.total, 0);

-- name: check_ledger_negative ()
SELECT 'account ' || id || ' is prepaid and has a balance of ' || balance || ' with ' || held || ' held' AS problem
FROM accounts
WHERE is_prepaid = 1 AND balance < held;

-- name: check_ledger_charges ()
SELECT 'request ' || charges.request_id || ' was charged ' || charges.amount || ', but its ledger says ' || COALESCE(found.total, 0) AS problem
FROM charges JOIN accounts ON accounts.no = charges.account_no
LEFT JOIN (SELECT transactions.request_id AS request_id, entries.account AS account, -SUM(entries.amount) AS total
           FROM transactions JOIN entries ON entries.transaction_no = transactions.no
           WHERE kind = 'charge' GROUP BY transactions.request_id, entries.account) AS found
       ON found.request_id = charges.request_id AND found.account = accounts.id
WHERE charges.amount <> COALESCE(found.total, 0);

-- name: check_ledger_settled ()
SELECT 'the hold of request ' || holds.request_id || ' is settled for more than it held' AS problem
FROM holds JOIN charges ON charges.request_id = holds.request_id
WHERE state = 'settled' AND charges.amount > holds.amount OR state IN ('voided', 'expired') AND charges.amount > 0;
