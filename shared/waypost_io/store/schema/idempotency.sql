-- Not partitioned: uniqueness cannot span range partitions.
CREATE TABLE idempotency (
    run_id      uuid        NOT NULL,
    reserved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant      text        NOT NULL,
    agent       text        NOT NULL,
    key         text        NOT NULL,
    digest      text        NOT NULL,
    PRIMARY KEY (tenant, agent, key)
);
COMMENT ON TABLE idempotency IS 'writer: coordinator. The first run that took a caller''s key, and the digest of its input.';
