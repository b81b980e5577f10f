CREATE TABLE audit_cursors (
    partition integer PRIMARY KEY,
    position  bigint  NOT NULL
);
COMMENT ON TABLE audit_cursors IS 'writer: audit logger. Per partition the position of the last event taken over.';
