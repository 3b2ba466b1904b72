-- What people asked for: tasks, and the keys that may ask.

CREATE TABLE tasks (
    id              TEXT PRIMARY KEY,
    project_id      TEXT NOT NULL,
    name            TEXT NOT NULL,
    creator         TEXT NOT NULL,
    service_version TEXT NOT NULL,
    desired         TEXT NOT NULL CHECK (desired IN ('start', 'stop')),
    state           TEXT NOT NULL,
    error_code      TEXT,
    error_msg       TEXT,
    -- Position among the inputs of the body that made it.
    input_index     INTEGER NOT NULL,
    -- JSON as it was given, unknown fields and all.
    body            TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX tasks_by_name ON tasks (project_id, name, id);
CREATE INDEX tasks_by_creation ON tasks (project_id, created_at, id);
CREATE INDEX tasks_by_update ON tasks (project_id, updated_at, id);
CREATE INDEX tasks_by_state ON tasks (project_id, state);

CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,
    hash         BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    last_used_at INTEGER
) STRICT;
