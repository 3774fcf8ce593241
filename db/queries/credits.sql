-- The ledger. Amounts are micro-credits. A transaction and its entries are written by two statements of one batch.

-- name: hold_take (account_no, amount)
-- The one condition that no balance is ever below what is held of it.
UPDATE accounts SET held = held + $2 WHERE no = $1 AND (is_prepaid = 0 OR balance - held >= $2);

-- name: hold_add (request_id, account_no, amount, owner, now, expires_at)
INSERT INTO holds (request_id, account_no, amount, state, owner, created_at, expires_at) VALUES ($1, $2, $3, 'open', $4, $5, $6);

-- name: hold_end (request_id, state, now)
UPDATE holds SET state = $2, ended_at = $3 WHERE request_id = $1 AND state = 'open';

-- name: hold_release (request_id)
-- After hold_end, in the same batch.
UPDATE accounts SET held = held - (SELECT amount FROM holds WHERE request_id = $1)
WHERE no = (SELECT account_no FROM holds WHERE request_id = $1);

-- name: hold_list_open ()
SELECT request_id, account_no, amount, owner, created_at, expires_at FROM holds WHERE state = 'open';

-- name: account_settle (account_no, held, amount)
UPDATE accounts SET held = held - $2, balance = balance - $3 WHERE no = $1;

-- name: account_credit (account_no, amount)
UPDATE accounts SET balance = balance + $2 WHERE no = $1;

-- name: account_reset (account_no, was, resets_at)
-- One of two who see the same date does it.
UPDATE accounts SET resets_at = $3 WHERE no = $1 AND resets_at = $2;

-- name: transaction_add (kind, request_id, note, now)
INSERT INTO transactions (kind, request_id, note, created_at) VALUES ($1, $2, $3, $4);

-- name: entries_add (kind, request_id, payer, payee, amount)
-- Both sides: they add up to 0.
INSERT INTO entries (transaction_no, account, amount)
SELECT no, $3, -$5 FROM transactions WHERE request_id = $2 AND kind = $1
UNION ALL
SELECT no, $4, $5 FROM transactions WHERE request_id = $2 AND kind = $1;

-- name: charge_add (request_id, account_no, key_id, run_id, model, provider, band, rate, outcome, prompt_tokens, completion_tokens, cached_tokens, estimated, amount, now)
INSERT INTO charges (request_id, account_no, key_id, run_id, model, provider, band, rate, outcome, prompt_tokens, completion_tokens,
                     cached_tokens, estimated, amount, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15);

-- name: charge_add_interrupted (request_id, outcome, now)
-- Of a hold that nobody settled.
INSERT INTO charges (request_id, account_no, model, outcome, amount, created_at)
SELECT request_id, account_no, '', $2, 0, $3 FROM holds WHERE request_id = $1;

-- name: ledger_page_up (account, lower, upper, limit)
-- What happened to a balance between two transactions, each of which may be missing (NULL).
SELECT transactions.no AS no, kind, transactions.request_id AS request_id, note, entries.amount AS amount,
       transactions.created_at AS created_at, charges.model AS model, charges.provider AS provider, charges.key_id AS key_id,
       charges.prompt_tokens AS prompt_tokens, charges.completion_tokens AS completion_tokens, charges.band AS band
FROM entries JOIN transactions ON transactions.no = entries.transaction_no
LEFT JOIN charges ON charges.request_id = transactions.request_id
WHERE entries.account = $1 AND transactions.no > COALESCE($2, 0) AND transactions.no < COALESCE($3, 9223372036854775807)
ORDER BY entries.transaction_no
LIMIT $4;

-- name: ledger_page_down (account, lower, upper, limit)
SELECT transactions.no AS no, kind, transactions.request_id AS request_id, note, entries.amount AS amount,
       transactions.created_at AS created_at, charges.model AS model, charges.provider AS provider, charges.key_id AS key_id,
       charges.prompt_tokens AS prompt_tokens, charges.completion_tokens AS completion_tokens, charges.band AS band
FROM entries JOIN transactions ON transactions.no = entries.transaction_no
LEFT JOIN charges ON charges.request_id = transactions.request_id
WHERE entries.account = $1 AND transactions.no > COALESCE($2, 0) AND transactions.no < COALESCE($3, 9223372036854775807)
ORDER BY entries.transaction_no DESC
LIMIT $4;

-- name: charges_by_model (account_no, since)
-- Of a request that was interrupted by the end of a process nobody knows the model, and it cost nothing.
SELECT model, COUNT(*) AS requests, COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens,
       COALESCE(SUM(completion_tokens), 0) AS completion_tokens, COALESCE(SUM(cached_tokens), 0) AS cached_tokens, SUM(amount) AS amount
FROM charges
WHERE account_no = $1 AND created_at >= $2 AND model <> ''
GROUP BY model
ORDER BY model;

-- name: charges_by_day (account_no, since)
-- Days of UTC, as days since 1970-01-01.
SELECT created_at / 86400000 AS day_number, COUNT(*) AS requests, COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens,
       COALESCE(SUM(completion_tokens), 0) AS completion_tokens, COALESCE(SUM(cached_tokens), 0) AS cached_tokens, SUM(amount) AS amount
FROM charges
WHERE account_no = $1 AND created_at >= $2
GROUP BY created_at / 86400000
ORDER BY day_number;
