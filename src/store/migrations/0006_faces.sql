-- Stored faces: the samples of ticket holders, of the directory's persons and of person numbers; the gates and what
-- each is still to be told; the directory; and the log of what was erased.

CREATE TABLE samples (
    id         INTEGER PRIMARY KEY,
    -- 0 a ticket, 1 a person of the directory, 2 a person number in a space
    kind       INTEGER NOT NULL CHECK (kind IN (0, 1, 2)),
    -- lbsbh; the person's UUID; space/number
    owner      TEXT NOT NULL,
    -- Which of the owner's: '' of a ticket, which has one.
    face       TEXT NOT NULL,
    valid_from INTEGER,
    valid_to   INTEGER,
    -- A ticket's: 1 where gates that are registered later get it too.
    all_gates  INTEGER NOT NULL DEFAULT 0 CHECK (all_gates IN (0, 1)),
    -- Left, top, width, height, then five points, in pixels of the picture, as JSON.
    box        TEXT NOT NULL,
    landmarks  TEXT,
    score      REAL NOT NULL,
    quality    REAL NOT NULL,
    -- A directory's: as the client named it.
    recognition_model TEXT,
    user_data  TEXT,
    created_at INTEGER NOT NULL,
    UNIQUE (kind, owner, face)
) STRICT;

-- Apart from their sample, so that walking the samples reads no pictures. Sealed: src/seal.rs.
CREATE TABLE sample_pictures (
    sample INTEGER PRIMARY KEY REFERENCES samples (id) ON DELETE CASCADE,
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE sample_embeddings (
    sample INTEGER PRIMARY KEY REFERENCES samples (id) ON DELETE CASCADE,
    -- Embeddings of different models cannot be compared.
    model  TEXT NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE gates (
    id           INTEGER PRIMARY KEY,
    gatenum      TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    -- The index that was given out last, and the one that the gate has said it reached.
    last_index   INTEGER NOT NULL DEFAULT 0,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    -- While a new gate is given the samples of all gates: the lbsbh that it was given last.
    filling      TEXT,
    -- While a scan is under way: the lbsbh that was looked at last; here, and at the remote server.
    scan_after   TEXT,
    remote_after TEXT,
    created_at   INTEGER NOT NULL
) STRICT;

-- The newest event of each gate and ticket: what it holds (0, add) or shall not hold (1, delete).
CREATE TABLE gate_events (
    gate     INTEGER NOT NULL REFERENCES gates (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind     INTEGER NOT NULL CHECK (kind IN (0, 1)),
    lbsbh    TEXT NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (gate, position)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX gate_events_by_ticket ON gate_events (gate, lbsbh);
CREATE INDEX gate_events_done ON gate_events (at) WHERE kind = 1;

-- The night whose scan was begun last, as a local date.
CREATE TABLE scan_night (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    night TEXT NOT NULL
) STRICT;

CREATE TABLE persons (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    user_data  TEXT,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE person_groups (
    id        TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    user_data TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE group_members (
    grp    TEXT NOT NULL REFERENCES person_groups (id) ON DELETE CASCADE,
    person TEXT NOT NULL REFERENCES persons (id) ON DELETE CASCADE,
    PRIMARY KEY (grp, person)
) STRICT, WITHOUT ROWID;

CREATE INDEX group_members_by_person ON group_members (person, grp);

CREATE TABLE operations (
    id          TEXT PRIMARY KEY,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX operations_by_age ON operations (created_at);

-- Names of photos that were unlinked from a number that still has others: unlinking them again changes nothing.
CREATE TABLE unlinked_photos (
    owner TEXT NOT NULL,
    face  TEXT NOT NULL,
    PRIMARY KEY (owner, face)
) STRICT, WITHOUT ROWID;

-- One row for each erased sample, chained: hash covers the row and the hash before it. Holds nothing of the face; the
-- subject is a hash of whose it was.
CREATE TABLE erasures (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    subject BLOB NOT NULL,
    hash    BLOB NOT NULL
) STRICT;
