-- Threads, messages, runs, steps and attempts. Times are milliseconds since 1970-01-01 UTC, money is whole nano-dollars,
-- columns that hold JSON say so. Forward only: a later file changes this one, nobody edits it.

CREATE TABLE threads (
    no INTEGER PRIMARY KEY CHECK (no BETWEEN 1 AND 8796093022207), -- 43 bits, see messages.pk
    id TEXT NOT NULL UNIQUE,
    key TEXT UNIQUE,                                               -- the name a script gave it
    title TEXT,
    metadata TEXT,                                                 -- JSON
    next_seq INTEGER NOT NULL DEFAULT 1 CHECK (next_seq BETWEEN 1 AND 1048576),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- One integer, thread and position, is the whole key: the messages of a thread lie side by side, and there is no second
-- index to keep. So run_id has no foreign key either; check_message_runs looks after it.
CREATE TABLE messages (
    pk INTEGER PRIMARY KEY,                                        -- threads.no << 20 | seq; seq counts from 1
    run_id TEXT,
    role TEXT NOT NULL CHECK (role IN ('system', 'developer', 'user', 'assistant', 'tool')),
    status TEXT NOT NULL CHECK (status IN ('complete', 'partial')),
    body TEXT NOT NULL,                                            -- JSON: the message of docs/model.md
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE runs (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    thread_no INTEGER NOT NULL REFERENCES threads (no) ON DELETE CASCADE,
    assistant TEXT,
    model TEXT,
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'waiting_tool', 'waiting_approval',
                                           'completed', 'failed', 'cancelled', 'expired', 'incomplete')),
    lease_owner TEXT,                                              -- the process that may append to it ...
    lease_epoch INTEGER NOT NULL DEFAULT 1,                        -- ... and how often it changed hands
    lease_until INTEGER,
    error TEXT,                                                    -- JSON
    usage TEXT,                                                    -- JSON
    cost_nano INTEGER,                                             -- NULL: a price is not known
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    CHECK ((finished_at IS NULL) = (status IN ('queued', 'running', 'waiting_tool', 'waiting_approval')))
) STRICT;

CREATE INDEX runs_by_thread ON runs (thread_no);
CREATE UNIQUE INDEX runs_active ON runs (thread_no)
    WHERE status IN ('queued', 'running', 'waiting_tool', 'waiting_approval');

-- The journal of a run: a row is written before the effect, and again with its result.
CREATE TABLE steps (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('model', 'tool')),
    status TEXT NOT NULL CHECK (status IN ('started', 'finished', 'unknown')),
    name TEXT,                                                     -- of the model or the tool
    call_id TEXT,
    idempotent INTEGER NOT NULL DEFAULT 0 CHECK (idempotent IN (0, 1)),
    input TEXT,                                                    -- JSON
    result TEXT,                                                   -- JSON
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (run_id, seq),
    CHECK ((finished_at IS NOT NULL) = (status = 'finished'))
) STRICT;

-- One HTTP request to one target, whatever became of it: what usage is counted from.
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    run_id TEXT REFERENCES runs (id) ON DELETE CASCADE,
    step_seq INTEGER,
    n INTEGER NOT NULL,                                            -- first, second, ... of its step
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    status INTEGER,                                                -- HTTP
    outcome TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    first_event_ms INTEGER,
    duration_ms INTEGER,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    cache_write_tokens INTEGER,
    reasoning_tokens INTEGER,
    cost_nano INTEGER,                                             -- NULL: the price is not known; never 0 for that
    price TEXT,                                                    -- JSON: the price in force
    estimated INTEGER NOT NULL DEFAULT 0 CHECK (estimated IN (0, 1)),
    error TEXT                                                     -- JSON
) STRICT;

CREATE INDEX attempts_by_run ON attempts (run_id);
CREATE INDEX attempts_by_time ON attempts (started_at);

-- What happened stays as it was. Rows go only with their whole thread.

CREATE TRIGGER messages_are_final BEFORE UPDATE ON messages
BEGIN
    SELECT RAISE (ABORT, 'a message is never changed');
END;

CREATE TRIGGER messages_stay BEFORE DELETE ON messages
WHEN EXISTS (SELECT 1 FROM threads WHERE no = OLD.pk >> 20)
BEGIN
    SELECT RAISE (ABORT, 'a message goes only with its thread');
END;

CREATE TRIGGER runs_are_final BEFORE UPDATE ON runs
WHEN OLD.finished_at IS NOT NULL
BEGIN
    SELECT RAISE (ABORT, 'a finished run is never changed');
END;

CREATE TRIGGER runs_stay BEFORE DELETE ON runs
WHEN EXISTS (SELECT 1 FROM threads WHERE no = OLD.thread_no)
BEGIN
    SELECT RAISE (ABORT, 'a run goes only with its thread');
END;

CREATE TRIGGER steps_are_final BEFORE UPDATE ON steps
WHEN OLD.status = 'finished'
BEGIN
    SELECT RAISE (ABORT, 'a finished step is never changed');
END;

CREATE TRIGGER steps_stay BEFORE DELETE ON steps
WHEN OLD.status = 'finished' AND EXISTS (SELECT 1 FROM runs WHERE id = OLD.run_id)
BEGIN
    SELECT RAISE (ABORT, 'a finished step goes only with its thread');
END;

CREATE TRIGGER threads_take_their_messages AFTER DELETE ON threads
BEGIN
    DELETE FROM messages WHERE pk >= OLD.no << 20 AND pk < (OLD.no + 1) << 20;
END;
