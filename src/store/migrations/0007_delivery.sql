-- Delivery that can be proved: outputs that are switched off, ages that no clock can jump, pictures in files, chains.

-- Anew, for its CHECK and its identity: an output is a task's address; what else was said about it may change.
CREATE TABLE outputs_new (
    id              INTEGER PRIMARY KEY,
    task_id         TEXT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('webhook', 'localpath', 'mqtt')),
    address         TEXT NOT NULL,
    -- JSON, as the task said it last: a deleted task's messages still drain.
    target          TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    -- Set: nothing is sent there until somebody asks for it.
    disabled_at     INTEGER,
    disabled_reason TEXT,
    -- Kept by the triggers below.
    open_deliveries INTEGER NOT NULL DEFAULT 0,
    -- The last link of its chain of evidence.
    chain_number    INTEGER NOT NULL DEFAULT 0,
    chain_hash      BLOB NOT NULL DEFAULT x'',
    UNIQUE (task_id, kind, address)
) STRICT;
INSERT INTO outputs_new (id, task_id, kind, address, target, created_at, open_deliveries)
    SELECT id, task_id, kind, target, target, created_at,
        (SELECT count(*) FROM deliveries WHERE output = outputs.id AND finished_at IS NULL)
    FROM outputs;
DROP TABLE outputs;
ALTER TABLE outputs_new RENAME TO outputs;

-- Milliseconds that the service has run since the outbox was made: no clock that is put right moves it.
ALTER TABLE messages ADD COLUMN born_at INTEGER NOT NULL DEFAULT 0;
-- 1: the picture is a file of the folder pictures/, not a row.
ALTER TABLE messages ADD COLUMN picture_in_file INTEGER NOT NULL DEFAULT 0 CHECK (picture_in_file IN (0, 1));
-- Unix milliseconds up to which a receiver may fetch the picture; 0: nobody may.
ALTER TABLE messages ADD COLUMN picture_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN chain_number INTEGER;
ALTER TABLE deliveries ADD COLUMN chain_previous BLOB;
-- These two are on the service's own time, too.
UPDATE deliveries SET due_at = 0, waiting_since = 0;

DROP INDEX messages_open_by_age;
DROP INDEX messages_done_by_age;
DROP INDEX messages_dead_with_picture;
CREATE INDEX messages_open_by_age ON messages (category, born_at) WHERE open_deliveries > 0;
CREATE INDEX messages_done_by_age ON messages (born_at) WHERE open_deliveries = 0;
CREATE INDEX messages_done_with_picture ON messages (category, id) WHERE picture_bytes > 0 AND open_deliveries = 0;
CREATE INDEX messages_to_fetch ON messages (picture_until)
    WHERE picture_until > 0 AND picture_bytes > 0 AND open_deliveries = 0;
CREATE INDEX messages_by_track ON messages (face_id, seq) WHERE face_id IS NOT NULL;
CREATE INDEX deliveries_open_by_age ON deliveries (output, id) WHERE finished_at IS NULL;

DROP TRIGGER picture_added;
DROP TRIGGER picture_removed;
DELETE FROM totals WHERE name IN ('pictures', 'picture_bytes');
INSERT INTO totals (name, value)
    SELECT 'face_pictures', count(*) FROM messages WHERE category = 'FaceImage' AND picture_bytes > 0 UNION ALL
    SELECT 'origin_pictures', count(*) FROM messages WHERE category = 'OriginImage' AND picture_bytes > 0 UNION ALL
    SELECT 'face_picture_bytes', coalesce(sum(picture_bytes), 0) FROM messages WHERE category = 'FaceImage' UNION ALL
    SELECT 'origin_picture_bytes', coalesce(sum(picture_bytes), 0) FROM messages WHERE category = 'OriginImage' UNION ALL
    SELECT 'up_ms', 0;

CREATE TRIGGER message_added AFTER INSERT ON messages WHEN NEW.picture_bytes > 0 BEGIN
    UPDATE totals SET value = value + 1
        WHERE name = CASE NEW.category WHEN 'FaceImage' THEN 'face_pictures' ELSE 'origin_pictures' END;
    UPDATE totals SET value = value + NEW.picture_bytes
        WHERE name = CASE NEW.category WHEN 'FaceImage' THEN 'face_picture_bytes' ELSE 'origin_picture_bytes' END;
END;
CREATE TRIGGER message_stripped AFTER UPDATE OF picture_bytes ON messages
    WHEN OLD.picture_bytes > 0 AND NEW.picture_bytes = 0 BEGIN
    UPDATE totals SET value = value - 1
        WHERE name = CASE OLD.category WHEN 'FaceImage' THEN 'face_pictures' ELSE 'origin_pictures' END;
    UPDATE totals SET value = value - OLD.picture_bytes
        WHERE name = CASE OLD.category WHEN 'FaceImage' THEN 'face_picture_bytes' ELSE 'origin_picture_bytes' END;
END;
CREATE TRIGGER message_removed AFTER DELETE ON messages WHEN OLD.picture_bytes > 0 BEGIN
    UPDATE totals SET value = value - 1
        WHERE name = CASE OLD.category WHEN 'FaceImage' THEN 'face_pictures' ELSE 'origin_pictures' END;
    UPDATE totals SET value = value - OLD.picture_bytes
        WHERE name = CASE OLD.category WHEN 'FaceImage' THEN 'face_picture_bytes' ELSE 'origin_picture_bytes' END;
END;
CREATE TRIGGER delivery_opened AFTER INSERT ON deliveries WHEN NEW.finished_at IS NULL BEGIN
    UPDATE outputs SET open_deliveries = open_deliveries + 1 WHERE id = NEW.output;
END;
CREATE TRIGGER delivery_ended AFTER UPDATE OF finished_at ON deliveries
    WHEN OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL BEGIN
    UPDATE outputs SET open_deliveries = open_deliveries - 1 WHERE id = NEW.output;
END;
CREATE TRIGGER delivery_reopened AFTER UPDATE OF finished_at ON deliveries
    WHEN OLD.finished_at IS NOT NULL AND NEW.finished_at IS NULL BEGIN
    UPDATE outputs SET open_deliveries = open_deliveries + 1 WHERE id = NEW.output;
END;
CREATE TRIGGER delivery_dropped AFTER DELETE ON deliveries WHEN OLD.finished_at IS NULL BEGIN
    UPDATE outputs SET open_deliveries = open_deliveries - 1 WHERE id = OLD.output;
END;

-- What was erased because its task says how long it may be kept.
CREATE TABLE message_erasures (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    task_id    TEXT NOT NULL,
    message_id TEXT NOT NULL,
    taken_at   INTEGER NOT NULL,
    -- Deliveries that had not been delivered.
    undelivered INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_by_task ON messages (task_id, born_at);
CREATE INDEX tasks_with_retention ON tasks (
    CASE WHEN json_valid(body) THEN json_extract(body, '$.service_config.common.retention_hours') END
) WHERE CASE WHEN json_valid(body) THEN json_extract(body, '$.service_config.common.retention_hours') END IS NOT NULL;

-- What this box signs with, made at the first start.
CREATE TABLE box_keys (
    name TEXT PRIMARY KEY,
    key  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What the rules decided about each track, for a bounded time.
CREATE TABLE decisions (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id   TEXT NOT NULL,
    face_id   TEXT NOT NULL,
    at        INTEGER NOT NULL,
    -- On the service's own time.
    born_at   INTEGER NOT NULL,
    stream_ms INTEGER NOT NULL,
    what      TEXT NOT NULL
) STRICT;
-- What was seen of faces, frame by frame, without pictures: other rules can be tried on it.
CREATE TABLE observations (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id   TEXT NOT NULL,
    session   TEXT NOT NULL,
    at        INTEGER NOT NULL,
    born_at   INTEGER NOT NULL,
    stream_ns INTEGER NOT NULL,
    width     REAL NOT NULL,
    height    REAL NOT NULL,
    -- JSON: numbers of each face.
    faces     TEXT NOT NULL
) STRICT;
CREATE INDEX observations_by_task ON observations (task_id, id);
CREATE INDEX decisions_by_track ON decisions (task_id, face_id, id);
