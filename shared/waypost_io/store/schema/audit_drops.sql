-- What retention has dropped: `note` is the signed statement, `leaves` the list that it has the digest of (waypost_core.audit.drops).
CREATE TABLE audit_drops (
    number     integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    what       text        NOT NULL UNIQUE,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    leaves     text        NOT NULL,
    note       text        NOT NULL
);
COMMENT ON TABLE audit_drops IS 'writer: waypost prune. Signed statements of what was dropped.';
