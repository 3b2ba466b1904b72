-- Who changed what, and what makes lists of tasks cost the same however many there are.

-- Ids grow and are never used twice. Secrets are never in it: they are masked before they come here.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at_s       INTEGER NOT NULL,
    -- The name of the key, and its id.
    who        TEXT NOT NULL COLLATE NOCASE,
    key_id     TEXT COLLATE NOCASE,
    request_id TEXT COLLATE NOCASE,
    action     TEXT NOT NULL COLLATE NOCASE,
    kind       TEXT NOT NULL COLLATE NOCASE,
    object     TEXT NOT NULL COLLATE NOCASE,
    -- JSON objects: of a change only the fields that differ.
    before     TEXT,
    after      TEXT
) STRICT;
CREATE INDEX audit_by_time ON audit (at_s);
CREATE INDEX audit_by_who ON audit (who);
CREATE INDEX audit_by_key ON audit (key_id);
CREATE INDEX audit_by_request ON audit (request_id);
CREATE INDEX audit_by_object ON audit (object);

-- One row, kept by the triggers below.
CREATE TABLE audit_size (
    entries INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) STRICT;
INSERT INTO audit_size VALUES (0, 0);
CREATE TRIGGER audit_added AFTER INSERT ON audit BEGIN
    UPDATE audit_size SET entries = entries + 1,
        bytes = bytes + coalesce(length(NEW.before), 0) + coalesce(length(NEW.after), 0);
END;
CREATE TRIGGER audit_removed AFTER DELETE ON audit BEGIN
    UPDATE audit_size SET entries = entries - 1,
        bytes = bytes - coalesce(length(OLD.before), 0) - coalesce(length(OLD.after), 0);
END;

-- How many tasks there are of each kind that lists ask for, so that nobody has to count rows.
CREATE TABLE task_counts (
    project_id      TEXT NOT NULL,
    state           TEXT NOT NULL,
    service_version TEXT NOT NULL,
    tasks           INTEGER NOT NULL,
    PRIMARY KEY (project_id, state, service_version)
) STRICT, WITHOUT ROWID;
INSERT INTO task_counts
    SELECT project_id, state, service_version, count(*) FROM tasks GROUP BY project_id, state, service_version;
CREATE TRIGGER task_added AFTER INSERT ON tasks BEGIN
    INSERT INTO task_counts VALUES (NEW.project_id, NEW.state, NEW.service_version, 1)
        ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;
CREATE TRIGGER task_changed AFTER UPDATE OF project_id, state, service_version ON tasks
    WHEN OLD.project_id <> NEW.project_id OR OLD.state <> NEW.state OR OLD.service_version <> NEW.service_version
BEGIN
    UPDATE task_counts SET tasks = tasks - 1
        WHERE project_id = OLD.project_id AND state = OLD.state AND service_version = OLD.service_version;
    DELETE FROM task_counts WHERE project_id = OLD.project_id AND state = OLD.state
        AND service_version = OLD.service_version AND tasks = 0;
    INSERT INTO task_counts VALUES (NEW.project_id, NEW.state, NEW.service_version, 1)
        ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;
-- A channel goes with its task, whatever happens in between.
CREATE TRIGGER task_removed AFTER DELETE ON tasks BEGIN
    UPDATE task_counts SET tasks = tasks - 1
        WHERE project_id = OLD.project_id AND state = OLD.state AND service_version = OLD.service_version;
    DELETE FROM task_counts WHERE project_id = OLD.project_id AND state = OLD.state
        AND service_version = OLD.service_version AND tasks = 0;
    DELETE FROM channels WHERE task_id = OLD.id;
END;

-- Each begins with what is compared, goes on in the order of the page, and ends with what a search looks into, so that
-- only the page's own rows are read.
DROP INDEX tasks_by_creation;
DROP INDEX tasks_by_update;
DROP INDEX tasks_by_state;
CREATE INDEX tasks_by_creation ON tasks (project_id, created_at, id, name);
CREATE INDEX tasks_by_update ON tasks (project_id, updated_at, id, name);
CREATE INDEX tasks_by_state_and_name ON tasks (project_id, state, name, id);
CREATE INDEX tasks_by_state_and_creation ON tasks (project_id, state, created_at, id, name);
CREATE INDEX tasks_by_state_and_update ON tasks (project_id, state, updated_at, id, name);
CREATE INDEX tasks_by_version_and_name ON tasks (project_id, service_version, name, id);
CREATE INDEX tasks_by_version_and_creation ON tasks (project_id, service_version, created_at, id, name);
CREATE INDEX tasks_by_version_and_update ON tasks (project_id, service_version, updated_at, id, name);

-- The secret key of a signing pair, sealed; NULL for a key that is sent as it is.
ALTER TABLE api_keys ADD COLUMN sealed BLOB;
