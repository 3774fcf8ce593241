-- Serving others: whose things are whose, keys, the ledger of credits, what was charged for, answers that are kept for repeated
-- requests, and what is said later of rows that never change.
--
-- Credits are whole micro-credits. `accounts.balance` is what its entries of the ledger add up to, at every commit; `held` is what its
-- open holds add up to.

CREATE TABLE accounts (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    is_prepaid INTEGER NOT NULL DEFAULT 0 CHECK (is_prepaid IN (0, 1)),    -- 0: counted, never refused
    tier TEXT,                                                             -- a name of the configuration's credits.tiers
    resets_at INTEGER,                                                     -- when the tier's allowance is granted anew
    balance INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    created_at INTEGER NOT NULL,
    CHECK (is_prepaid = 0 OR balance >= held)
) STRICT;

-- A key is prefix, id, secret and checksum; what is kept is the HMAC-SHA-256 of the secret under this database's pepper.
CREATE TABLE keys (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,                                               -- the part of the key that may be shown
    account_no INTEGER NOT NULL REFERENCES accounts (no),
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    scopes TEXT NOT NULL,                                                  -- JSON: models, routes
    limits TEXT NOT NULL,                                                  -- JSON: requests, tokens (a minute), concurrency
    replaces TEXT,                                                         -- the id of the key that this one was made for
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

-- What a database must know once and nobody else: the pepper of its keys.
CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Credits that are set aside for a request until it is known what it came to. Each ends once.
CREATE TABLE holds (
    request_id TEXT NOT NULL PRIMARY KEY,
    account_no INTEGER NOT NULL REFERENCES accounts (no),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    state TEXT NOT NULL CHECK (state IN ('open', 'settled', 'voided', 'expired')),
    owner TEXT NOT NULL,                                                   -- the process that serves it
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER,
    CHECK ((ended_at IS NULL) = (state = 'open'))
) STRICT, WITHOUT ROWID;

CREATE INDEX holds_open ON holds (account_no) WHERE state = 'open';

CREATE TRIGGER holds_end_once BEFORE UPDATE ON holds
WHEN OLD.state <> 'open'
BEGIN
    SELECT RAISE (ABORT, 'a hold ends once');
END;

-- The ledger: every transaction's entries add up to 0. Accounts are those of customers (their id) and the house's
-- ('house:grants', 'house:revenue', 'house:overrun').
CREATE TABLE transactions (
    no INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('grant', 'reset', 'charge', 'overrun', 'correction')),
    request_id TEXT NOT NULL,                                              -- of a grant, an id of its own
    note TEXT,
    created_at INTEGER NOT NULL,
    UNIQUE (request_id, kind)
) STRICT;

CREATE TABLE entries (
    transaction_no INTEGER NOT NULL REFERENCES transactions (no),
    account TEXT NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (transaction_no, account)
) STRICT, WITHOUT ROWID;

CREATE INDEX entries_by_account ON entries (account, transaction_no);

CREATE TRIGGER transactions_are_final BEFORE UPDATE ON transactions
BEGIN
    SELECT RAISE (ABORT, 'the ledger is never changed');
END;

CREATE TRIGGER transactions_stay BEFORE DELETE ON transactions
BEGIN
    SELECT RAISE (ABORT, 'the ledger is never changed');
END;

CREATE TRIGGER entries_are_final BEFORE UPDATE ON entries
BEGIN
    SELECT RAISE (ABORT, 'the ledger is never changed');
END;

CREATE TRIGGER entries_stay BEFORE DELETE ON entries
BEGIN
    SELECT RAISE (ABORT, 'the ledger is never changed');
END;

-- One row for each logical request of a key, a model call of a run included: what it used, at which rate, and what was charged.
-- What the providers cost is in `attempts`, one row for each attempt.
CREATE TABLE charges (
    request_id TEXT NOT NULL PRIMARY KEY,
    account_no INTEGER NOT NULL REFERENCES accounts (no),
    key_id TEXT,                                                           -- NULL: a local caller without a key
    run_id TEXT,
    model TEXT NOT NULL,                                                   -- as it was asked for
    provider TEXT,                                                         -- who answered
    band TEXT,
    rate TEXT,                                                             -- JSON: the rate in force
    outcome TEXT NOT NULL,                                                 -- ok, cancelled, or the kind of the error
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    estimated INTEGER NOT NULL DEFAULT 0 CHECK (estimated IN (0, 1)),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX charges_by_account ON charges (account_no, created_at);

CREATE TRIGGER charges_are_final BEFORE UPDATE ON charges
BEGIN
    SELECT RAISE (ABORT, 'a charge is never changed');
END;

-- Answers to requests with an Idempotency-Key.
CREATE TABLE idempotency (
    account_no INTEGER NOT NULL,                                           -- 0: the local caller without a key
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,                                            -- of method, path and body
    owner TEXT NOT NULL,                                                   -- the process that answers it
    request_id TEXT NOT NULL,
    status INTEGER,                                                        -- NULL: it is being answered
    headers TEXT,                                                          -- JSON
    body TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (account_no, key),
    CHECK ((status IS NULL) = (finished_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_time ON idempotency (created_at);

-- Whose they are; NULL: the scripts' of this machine.
ALTER TABLE threads ADD COLUMN account TEXT;
ALTER TABLE assistants ADD COLUMN account TEXT;
ALTER TABLE runs ADD COLUMN account TEXT;
ALTER TABLE runs ADD COLUMN asked TEXT;                                    -- JSON: what a request asked for, to go on with it and to show it
ALTER TABLE runs ADD COLUMN expires_at INTEGER;                            -- a run that waits for outputs until then is expired

CREATE INDEX threads_by_account ON threads (account, no) WHERE account IS NOT NULL;

-- What was said later of messages and runs, which never change: other metadata, and that (parts of) them are not shown any more, nor sent.
CREATE TABLE message_notes (
    pk INTEGER PRIMARY KEY REFERENCES messages (pk) ON DELETE CASCADE,
    metadata TEXT,                                                         -- JSON
    deleted TEXT                                                           -- JSON: a list of parts; ["message"]: all of it
) STRICT;

CREATE TABLE run_notes (
    run_id TEXT NOT NULL PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    metadata TEXT,                                                         -- JSON
    deleted_at INTEGER
) STRICT, WITHOUT ROWID;

-- Attempts outlive the thread they were made for: they are what was spent.
CREATE TABLE attempts_2 (
    id INTEGER PRIMARY KEY,
    run_id TEXT REFERENCES runs (id) ON DELETE SET NULL,
    request_id TEXT,                                                       -- of a request without a run
    step_seq INTEGER,
    n INTEGER NOT NULL,                                                    -- first, second, ... of its step
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    status INTEGER,                                                        -- HTTP
    outcome TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    first_event_ms INTEGER,
    duration_ms INTEGER,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    cache_write_tokens INTEGER,
    reasoning_tokens INTEGER,
    cost_nano INTEGER,                                                     -- NULL: the price is not known; never 0 for that
    price TEXT,                                                            -- JSON: the price in force
    estimated INTEGER NOT NULL DEFAULT 0 CHECK (estimated IN (0, 1)),
    error TEXT                                                             -- JSON
) STRICT;

INSERT INTO attempts_2 (id, run_id, step_seq, n, provider, model, status, outcome, started_at, first_event_ms, duration_ms,
                        prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, cost_nano, price,
                        estimated, error)
SELECT id, run_id, step_seq, n, provider, model, status, outcome, started_at, first_event_ms, duration_ms, prompt_tokens,
       completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, cost_nano, price, estimated, error
FROM attempts;
DROP TABLE attempts;
ALTER TABLE attempts_2 RENAME TO attempts;

CREATE INDEX attempts_by_run ON attempts (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX attempts_by_time ON attempts (started_at);
