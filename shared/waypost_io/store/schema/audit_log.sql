-- One row: the log's name, how large it is, and which audit logger may append. An append moves `size` from what its author believes.
CREATE TABLE audit_log (
    one        boolean     PRIMARY KEY DEFAULT true CHECK (one),
    origin     text        NOT NULL,
    owner      text        NOT NULL,
    epoch      bigint      NOT NULL,
    expires_at timestamptz NOT NULL,
    size       bigint      NOT NULL DEFAULT 0
);
COMMENT ON TABLE audit_log IS 'writer: audit logger. The log itself: name, size, and the lease of the one that appends.';
