-- Where messages wait until every output has them. Pictures stand apart, so that changing a row never rewrites one.

CREATE TABLE outputs (
    id         INTEGER PRIMARY KEY,
    task_id    TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('webhook', 'localpath')),
    -- JSON, as it was when the message was made: a deleted task's messages still drain.
    target     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (task_id, kind, target)
) STRICT;

CREATE TABLE messages (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id      TEXT NOT NULL UNIQUE,
    category        TEXT NOT NULL CHECK (category IN ('FaceImage', 'OriginImage')),
    task_id         TEXT NOT NULL,
    stream_id       TEXT NOT NULL,
    face_id         TEXT,
    seq             INTEGER,
    taken_at        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    -- JSON, everything but the picture.
    body            TEXT NOT NULL,
    -- 0 once the picture is gone.
    picture_bytes   INTEGER NOT NULL,
    -- Deliveries that are neither delivered nor dead.
    open_deliveries INTEGER NOT NULL
) STRICT;

CREATE INDEX messages_open_by_age ON messages (created_at) WHERE open_deliveries > 0;
CREATE INDEX messages_done_by_age ON messages (created_at) WHERE open_deliveries = 0;
CREATE INDEX messages_with_picture ON messages (category, id) WHERE picture_bytes > 0;
CREATE INDEX messages_dead_with_picture ON messages (id) WHERE picture_bytes > 0 AND open_deliveries = 0;

CREATE TABLE pictures (
    message INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    jpeg    BLOB NOT NULL
) STRICT;

-- queued: an earlier delivery of the same output and lane is open. ready: may be claimed once due.
CREATE TABLE deliveries (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    message         INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    output          INTEGER NOT NULL REFERENCES outputs (id),
    -- What is delivered strictly in order: the track of a FaceImage, the message itself of an OriginImage.
    lane            BLOB NOT NULL,
    -- 0 FaceImage, 1 OriginImage.
    priority        INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('queued', 'ready', 'claimed', 'delivered', 'dead')),
    due_at          INTEGER NOT NULL,
    -- From when the time to give up counts.
    waiting_since   INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    last_attempt_at INTEGER,
    reason          TEXT,
    finished_at     INTEGER,
    UNIQUE (message, output)
) STRICT;

CREATE INDEX deliveries_ready ON deliveries (output, priority, due_at, id) WHERE state = 'ready';
CREATE INDEX deliveries_claimed ON deliveries (output) WHERE state = 'claimed';
CREATE INDEX deliveries_open ON deliveries (output, lane, id) WHERE finished_at IS NULL;
CREATE INDEX deliveries_by_state ON deliveries (state, id);
CREATE INDEX deliveries_by_output ON deliveries (output);

-- Kept by the triggers below, so that nobody has to count rows.
CREATE TABLE totals (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO totals (name, value) VALUES
    ('queued', 0), ('ready', 0), ('claimed', 0), ('delivered', 0), ('dead', 0), ('pictures', 0), ('picture_bytes', 0);

CREATE TRIGGER delivery_added AFTER INSERT ON deliveries BEGIN
    UPDATE totals SET value = value + 1 WHERE name = NEW.state;
END;
CREATE TRIGGER delivery_changed AFTER UPDATE OF state ON deliveries WHEN OLD.state <> NEW.state BEGIN
    UPDATE totals SET value = value - 1 WHERE name = OLD.state;
    UPDATE totals SET value = value + 1 WHERE name = NEW.state;
END;
CREATE TRIGGER delivery_removed AFTER DELETE ON deliveries BEGIN
    UPDATE totals SET value = value - 1 WHERE name = OLD.state;
END;
CREATE TRIGGER picture_added AFTER INSERT ON pictures BEGIN
    UPDATE totals SET value = value + 1 WHERE name = 'pictures';
    UPDATE totals SET value = value + length(NEW.jpeg) WHERE name = 'picture_bytes';
END;
CREATE TRIGGER picture_removed AFTER DELETE ON pictures BEGIN
    UPDATE totals SET value = value - 1 WHERE name = 'pictures';
    UPDATE totals SET value = value - length(OLD.jpeg) WHERE name = 'picture_bytes';
END;
