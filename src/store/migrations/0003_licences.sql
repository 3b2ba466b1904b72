-- What this installation may run. Dates are Unix seconds: the interface knows none that are finer, and compares them.
-- Ids grow and are never used twice, so that a traversal in their order meets new rows at its end. Texts that people
-- search by compare without case.

CREATE TABLE products (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL UNIQUE COLLATE NOCASE,
    guid        TEXT NOT NULL UNIQUE COLLATE NOCASE,
    ref_id      TEXT UNIQUE COLLATE NOCASE,
    description TEXT,
    reg_at_s    INTEGER NOT NULL
) STRICT;

-- The same name may come in several versions.
CREATE TABLE features (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    product    INTEGER NOT NULL REFERENCES products (id),
    guid       TEXT NOT NULL UNIQUE COLLATE NOCASE,
    name       TEXT NOT NULL COLLATE NOCASE,
    feature_id INTEGER NOT NULL,
    version    TEXT COLLATE NOCASE,
    value      INTEGER,
    status     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX features_by_name ON features (product, name);
CREATE INDEX features_by_feature_id ON features (product, feature_id);

CREATE TABLE templates (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    product     INTEGER NOT NULL REFERENCES products (id),
    name        TEXT NOT NULL COLLATE NOCASE,
    description TEXT,
    status      INTEGER NOT NULL DEFAULT 0,
    reg_at_s    INTEGER NOT NULL,
    UNIQUE (product, name)
) STRICT;

CREATE TABLE customers (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT NOT NULL UNIQUE COLLATE NOCASE,
    reference_id TEXT UNIQUE COLLATE NOCASE,
    -- JSON: address, telephone and the like, which nothing searches.
    details      TEXT NOT NULL,
    reg_at_s     INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT NOT NULL UNIQUE COLLATE NOCASE,
    guid     TEXT NOT NULL UNIQUE,
    status   INTEGER NOT NULL DEFAULT 0,
    reg_at_s INTEGER NOT NULL
) STRICT;

CREATE TABLE sns (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    sn                TEXT NOT NULL UNIQUE COLLATE NOCASE,
    product           INTEGER NOT NULL REFERENCES products (id),
    template          INTEGER NOT NULL REFERENCES templates (id),
    customer          INTEGER REFERENCES customers (id),
    -- 0: good. Anything else: disabled.
    status            INTEGER NOT NULL DEFAULT 0,
    type              TEXT NOT NULL COLLATE NOCASE,
    reg_at_s          INTEGER NOT NULL,
    updated_at_s      INTEGER NOT NULL,
    active_at_s       INTEGER,
    expiration_days   INTEGER,
    -- Channels at once; NULL: any number.
    concurrent_number INTEGER,
    users_number      INTEGER,
    -- Kept and given back; nothing here follows them.
    transfer_volume   INTEGER NOT NULL DEFAULT 0,
    transfer_number   INTEGER NOT NULL DEFAULT 0,
    license_borrow    INTEGER,
    -- JSON {guid, name, type, description}.
    business          TEXT,
    -- The most channels that were taken at once.
    peak              INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX sns_by_product ON sns (product);
CREATE INDEX sns_by_customer ON sns (customer);
CREATE INDEX sns_by_status ON sns (status);
CREATE INDEX sns_by_type ON sns (type);
CREATE INDEX sns_by_registration ON sns (reg_at_s);
CREATE INDEX sns_by_update ON sns (updated_at_s);
CREATE INDEX sns_by_activation ON sns (active_at_s);
CREATE INDEX sns_by_expiration ON sns (expiration_days);
CREATE INDEX sns_by_channels ON sns (concurrent_number);

CREATE TABLE sn_features (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    sn              INTEGER NOT NULL REFERENCES sns (id),
    feature         INTEGER NOT NULL REFERENCES features (id),
    value           INTEGER,
    expiration_days INTEGER,
    users           INTEGER,
    source          TEXT NOT NULL,
    UNIQUE (sn, feature)
) STRICT;

CREATE TABLE sn_data (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    sn           INTEGER NOT NULL REFERENCES sns (id),
    name         TEXT NOT NULL COLLATE NOCASE,
    value        TEXT NOT NULL,
    status       INTEGER NOT NULL DEFAULT 0,
    source       TEXT NOT NULL,
    updated_at_s INTEGER NOT NULL,
    UNIQUE (sn, name)
) STRICT;

CREATE TABLE sn_users (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    sn          INTEGER NOT NULL REFERENCES sns (id),
    user        INTEGER NOT NULL REFERENCES users (id),
    UNIQUE (sn, user)
) STRICT;

-- The boxes that ran a channel of an sn; mid is the box's node_id.
CREATE TABLE machines (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    sn           INTEGER NOT NULL REFERENCES sns (id),
    mid          TEXT NOT NULL COLLATE NOCASE,
    status       INTEGER NOT NULL DEFAULT 0,
    reg_at_s     INTEGER NOT NULL,
    updated_at_s INTEGER NOT NULL,
    UNIQUE (sn, mid)
) STRICT;

-- The channels that are taken now, one a task. The lower id was taken earlier.
CREATE TABLE channels (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id TEXT NOT NULL UNIQUE,
    sn      INTEGER NOT NULL REFERENCES sns (id),
    node    TEXT NOT NULL
) STRICT;
CREATE INDEX channels_by_sn ON channels (sn, id);
CREATE INDEX channels_by_node ON channels (node);

-- Answers to writes that may be sent again, kept for a day.
CREATE TABLE answered_requests (
    -- Whose it is and its x-bit-req-id, in one.
    request     TEXT PRIMARY KEY,
    -- Of method, path and body: the same id under another request is a fault.
    fingerprint BLOB NOT NULL,
    answer      TEXT NOT NULL,
    at_s        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX answered_requests_by_age ON answered_requests (at_s);

-- A fresh installation has a licence without limits, so that nothing has to be set up first.
INSERT INTO products (name, guid, description, reg_at_s)
    VALUES ('demo', '00000000000000000000000000000001', 'what a fresh installation has', unixepoch());
INSERT INTO templates (product, name, reg_at_s) SELECT id, 'Default', unixepoch() FROM products WHERE name = 'demo';
INSERT INTO features (product, guid, name, feature_id, value)
    SELECT id, '00000000000000000000000000000002', 'face-extraction', 1, 1 FROM products WHERE name = 'demo';
INSERT INTO sns (sn, product, template, type, reg_at_s, updated_at_s)
    SELECT 'DEFAULT', product, id, 'LOCAL', unixepoch(), unixepoch() FROM templates WHERE name = 'Default';
INSERT INTO sn_features (sn, feature, value, source)
    SELECT sns.id, features.id, features.value, 'PRODUCT' FROM sns JOIN features ON features.product = sns.product;
