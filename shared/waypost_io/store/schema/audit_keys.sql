-- The keys that have signed heads, in order, and the statement by which each took over from the one before.
CREATE TABLE audit_keys (
    number   integer     PRIMARY KEY,
    key_id   text        NOT NULL UNIQUE,
    size     bigint      NOT NULL,
    added_at timestamptz NOT NULL,
    note     text        NOT NULL
);
COMMENT ON TABLE audit_keys IS 'writer: audit logger. Statements of keys, each signed by itself and by the key before it.';
