-- The camera registry of this installation, and where a task comes from and may run.

CREATE TABLE cameras (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    -- May hold a password, like the two columns after it.
    url        TEXT NOT NULL,
    username   TEXT,
    password   TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX cameras_by_name ON cameras (name, id);

-- The pool of boxes that may run it: each box looks at its own pool's tasks only.
ALTER TABLE tasks ADD COLUMN edge_pool_id TEXT NOT NULL DEFAULT '';
-- The file of the folder of task files that it was read from; NULL: made by the interface.
ALTER TABLE tasks ADD COLUMN file TEXT;
-- 1: gone as soon as its camera is let go.
ALTER TABLE tasks ADD COLUMN deleting INTEGER NOT NULL DEFAULT 0 CHECK (deleting IN (0, 1));

UPDATE tasks SET edge_pool_id = coalesce(json_extract(body, '$.edge_pool_id'), '');

CREATE INDEX tasks_to_run ON tasks (edge_pool_id) WHERE desired = 'start' AND deleting = 0;
CREATE INDEX tasks_to_delete ON tasks (id) WHERE deleting = 1;
CREATE INDEX tasks_of_files ON tasks (file) WHERE file IS NOT NULL;
