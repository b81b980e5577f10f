CREATE TABLE blobs (
    sha256     text        NOT NULL,
    index      integer     NOT NULL,
    chunks     integer     NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    data       bytea       NOT NULL,
    PRIMARY KEY (sha256, index)
);
COMMENT ON TABLE blobs IS 'writers: coordinator, gateway. Values too large for a message, in chunks.';
