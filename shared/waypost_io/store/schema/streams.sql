CREATE TABLE streams (
    name     text        PRIMARY KEY,
    created  text        NOT NULL,
    last_seq bigint      NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE streams IS 'writer: coordinator. Identity and progress of each JetStream stream, to notice a wipe.';
