-- Notes: what was said later of messages and runs, which never change. Metadata, and what is not shown any more, nor sent.

-- name: message_note_get (thread_id, seq)
-- A row for every message, whether something was said of it or not.
SELECT messages.pk & 1048575 AS seq, metadata, deleted
FROM messages LEFT JOIN message_notes ON message_notes.pk = messages.pk
WHERE messages.pk = ((SELECT no FROM threads WHERE id = $1) << 20) + $2;

-- name: message_note_metadata (thread_id, seq, metadata)
INSERT INTO message_notes (pk, metadata)
SELECT pk, $3 FROM messages WHERE pk = ((SELECT no FROM threads WHERE id = $1) << 20) + $2
ON CONFLICT (pk) DO UPDATE SET metadata = excluded.metadata;

-- name: message_note_of_last (thread_id, metadata)
-- Of the message that was appended last, in the batch that appends it.
INSERT INTO message_notes (pk, metadata)
SELECT (no << 20) + next_seq - 1, $2 FROM threads WHERE id = $1;

-- name: message_note_delete (thread_id, seq, seen, deleted)
-- `seen` is what was deleted before, '' for nothing: of two who delete parts of one message, the second has to look again.
INSERT INTO message_notes (pk, deleted)
SELECT pk, $4 FROM messages WHERE pk = ((SELECT no FROM threads WHERE id = $1) << 20) + $2
ON CONFLICT (pk) DO UPDATE SET deleted = excluded.deleted WHERE COALESCE(message_notes.deleted, '') = $3;

-- name: message_note_summaries (thread_id, seq)
-- Summaries that tell of a message go with it; they are made again of what is left.
DELETE FROM summaries WHERE thread_no = (SELECT no FROM threads WHERE id = $1) AND upto_seq >= $2;

-- name: run_note_get (run_id)
SELECT metadata, deleted_at FROM run_notes WHERE run_id = $1;

-- name: run_note_set (run_id, has_metadata, metadata, deleted_at)
INSERT INTO run_notes (run_id, metadata, deleted_at)
SELECT id, $3, $4 FROM runs WHERE id = $1
ON CONFLICT (run_id) DO UPDATE SET metadata = CASE WHEN $2 = 1 THEN excluded.metadata ELSE run_notes.metadata END,
                                   deleted_at = COALESCE(run_notes.deleted_at, excluded.deleted_at);
