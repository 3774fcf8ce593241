-- Runs that survive their process: what a resume needs, decisions of people, a journal of events for readers that come back, tool
-- results that are too long for a request, summaries of old messages, assistants and workflows as rows.

ALTER TABLE runs ADD COLUMN parent TEXT;                               -- the run that called this one as a tool
ALTER TABLE runs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;        -- times its process was gone while it ran
ALTER TABLE runs ADD COLUMN cancel_at INTEGER;                         -- asked to end; no effect begins from then on
ALTER TABLE runs ADD COLUMN input_seq INTEGER;                         -- the message that began it
ALTER TABLE runs ADD COLUMN output TEXT;                               -- JSON: the answer, where a schema was asked for
ALTER TABLE runs ADD COLUMN metadata TEXT;                             -- JSON

-- The journal with one more state: a tool call waits for a person (or for its output from outside) before it begins.
CREATE TABLE steps_2 (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('model', 'tool', 'summary')),
    status TEXT NOT NULL CHECK (status IN ('waiting', 'started', 'finished', 'unknown')),
    waits_for TEXT CHECK (waits_for IN ('approval', 'output', 'outcome')),
    decision TEXT,                                                 -- JSON: what was decided; once
    name TEXT,                                                     -- of the model or the tool
    call_id TEXT,
    idempotent INTEGER NOT NULL DEFAULT 0 CHECK (idempotent IN (0, 1)),
    input TEXT,                                                    -- JSON
    result TEXT,                                                   -- JSON
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (run_id, seq),
    CHECK ((finished_at IS NOT NULL) = (status = 'finished')),
    CHECK (status <> 'waiting' OR waits_for IS NOT NULL)
) STRICT;

INSERT INTO steps_2 (run_id, seq, kind, status, name, call_id, idempotent, input, result, started_at, finished_at)
SELECT run_id, seq, kind, status, name, call_id, idempotent, input, result, started_at, finished_at FROM steps;
DROP TABLE steps;
ALTER TABLE steps_2 RENAME TO steps;

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

-- What a reader of a run sees, numbered from 1 without gaps; a row holds those of one batch, deltas of text joined.
CREATE TABLE events (
    run_no INTEGER NOT NULL REFERENCES runs (no) ON DELETE CASCADE,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq),
    body TEXT NOT NULL,                                            -- JSON: a list
    created_at INTEGER NOT NULL,
    PRIMARY KEY (run_no, first_seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER events_are_final BEFORE UPDATE ON events
BEGIN
    SELECT RAISE (ABORT, 'an event is never changed');
END;

-- Tool results, whole, of which a request gets the beginning and this id.
CREATE TABLE results (
    id TEXT NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX results_by_run ON results (run_id);

-- What stands in a request for the messages up to `upto_seq`, which stay where they are.
CREATE TABLE summaries (
    thread_no INTEGER NOT NULL REFERENCES threads (no) ON DELETE CASCADE,
    upto_seq INTEGER NOT NULL,
    run_id TEXT,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (thread_no, upto_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE assistants (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    definition TEXT NOT NULL,                                      -- JSON: the options of perilune.assistant
    metadata TEXT,                                                 -- JSON
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- A workflow's execution: its steps are run once, what they returned is kept.
CREATE TABLE workflows (
    no INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    id TEXT NOT NULL,                                              -- the caller's
    status TEXT NOT NULL CHECK (status IN ('running', 'sleeping', 'waiting', 'completed', 'failed', 'cancelled')),
    input TEXT,                                                    -- JSON
    result TEXT,                                                   -- JSON
    error TEXT,                                                    -- JSON
    lease_owner TEXT,
    lease_epoch INTEGER NOT NULL DEFAULT 1,
    crashes INTEGER NOT NULL DEFAULT 0,
    wake_at INTEGER,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    UNIQUE (name, id),
    CHECK ((finished_at IS NULL) = (status IN ('running', 'sleeping', 'waiting')))
) STRICT;

CREATE INDEX workflows_open ON workflows (status) WHERE finished_at IS NULL;

CREATE TABLE workflow_steps (
    workflow_no INTEGER NOT NULL REFERENCES workflows (no) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('step', 'sleep', 'ask', 'value')),
    name TEXT NOT NULL,
    -- ready: begins at due_at; waiting: for a time or a person; unknown: it began, and nobody knows whether it had its effect
    status TEXT NOT NULL CHECK (status IN ('ready', 'started', 'waiting', 'unknown', 'finished', 'failed')),
    idempotent INTEGER NOT NULL DEFAULT 0 CHECK (idempotent IN (0, 1)),
    failures INTEGER NOT NULL DEFAULT 0,                           -- attempts that raised
    due_at INTEGER,                                                -- the end of a sleep, or when it is tried again
    input TEXT,                                                    -- JSON: arguments, a question, seconds
    result TEXT,                                                   -- JSON
    error TEXT,                                                    -- JSON
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (workflow_no, seq),
    UNIQUE (workflow_no, name),
    CHECK ((finished_at IS NOT NULL) = (status IN ('finished', 'failed')))
) STRICT, WITHOUT ROWID;

CREATE TRIGGER workflow_steps_are_final BEFORE UPDATE ON workflow_steps
WHEN OLD.finished_at IS NOT NULL
BEGIN
    SELECT RAISE (ABORT, 'a finished step is never changed');
END;

CREATE TRIGGER workflows_are_final BEFORE UPDATE ON workflows
WHEN OLD.finished_at IS NOT NULL
BEGIN
    SELECT RAISE (ABORT, 'a finished workflow is never changed');
END;
