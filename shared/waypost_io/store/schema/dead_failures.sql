CREATE TABLE dead_failures (
    source    text        PRIMARY KEY,
    failures  integer     NOT NULL,
    failed_at timestamptz NOT NULL
);
COMMENT ON TABLE dead_failures IS 'writer: coordinator. How often handling a message failed.';
