CREATE TABLE inbox (
    message_id text        PRIMARY KEY,
    run_id     uuid        NOT NULL,
    sent_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    partition  integer     NOT NULL,
    subject    text        NOT NULL,
    body       bytea       NOT NULL
);
CREATE INDEX inbox_partition ON inbox (partition, message_id);
COMMENT ON TABLE inbox IS 'writer: coordinator. Messages between runs, from the sender''s commit until the receiver''s.';
