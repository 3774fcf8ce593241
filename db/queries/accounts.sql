-- Customers. `balance` and `held` are changed by the statements of credits.sql alone.

-- name: account_create (id, name, is_prepaid, tier, resets_at, now)
-- Nothing happens when the name is taken: who asks next finds the account that has it.
INSERT INTO accounts (id, name, is_prepaid, tier, resets_at, created_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO NOTHING;

-- name: account_get (ref)
SELECT no, id, name, is_prepaid, tier, resets_at, balance, held, created_at FROM accounts
WHERE id = $1 OR name = $1
ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END
LIMIT 1;

-- name: account_list ()
SELECT no, id, name, is_prepaid, tier, resets_at, balance, held, created_at FROM accounts ORDER BY no;

-- name: account_list_due (now)
-- Those whose tier's allowance is due.
SELECT no, id, name, is_prepaid, tier, resets_at, balance, held, created_at FROM accounts
WHERE tier IS NOT NULL AND resets_at <= $1
ORDER BY no;

-- name: account_change (id, is_prepaid, tier, resets_at)
UPDATE accounts SET is_prepaid = $2, tier = $3, resets_at = $4 WHERE id = $1;
