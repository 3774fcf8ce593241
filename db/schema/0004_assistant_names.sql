-- Each account has names of assistants of its own.

CREATE TABLE assistants_4 (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    definition TEXT NOT NULL,                                      -- JSON: the options of perilune.assistant
    metadata TEXT,                                                 -- JSON
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    account TEXT                                                   -- NULL: this machine's
) STRICT;
INSERT INTO assistants_4 SELECT no, id, name, definition, metadata, created_at, updated_at, account FROM assistants;
DROP TABLE assistants;
ALTER TABLE assistants_4 RENAME TO assistants;
CREATE UNIQUE INDEX assistants_by_name ON assistants (name, COALESCE(account, ''));
