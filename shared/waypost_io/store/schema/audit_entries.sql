-- The leaves of the audit log in order. The bytes stay in events: an entry proves them, it does not copy them.
CREATE TABLE audit_entries (
    index     bigint  PRIMARY KEY,
    run_id    uuid    NOT NULL,
    seq       bigint  NOT NULL,
    position  bigint  NOT NULL,
    partition integer NOT NULL,
    digest    bytea   NOT NULL,
    UNIQUE (partition, position)
);
CREATE INDEX audit_entries_run ON audit_entries (run_id, index);
COMMENT ON TABLE audit_entries IS 'writer: audit logger. One leaf per event, numbered from 1 without a gap.';
