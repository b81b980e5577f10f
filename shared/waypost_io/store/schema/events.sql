-- Range-partitioned by the time in the UUIDv7 run id, so that retention drops whole months (waypost_create_event_partitions).
-- A run id from a fast or slow clock falls into the default partition.
CREATE TABLE events (
    run_id      uuid        NOT NULL,
    seq         bigint      NOT NULL,
    position    bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    partition   integer     NOT NULL,
    type        text        NOT NULL,
    cause       text        NOT NULL DEFAULT '',
    data        bytea       NOT NULL,
    PRIMARY KEY (run_id, seq)
) PARTITION BY RANGE (run_id);
CREATE UNIQUE INDEX events_cause ON events (run_id, cause) WHERE cause <> '';
CREATE INDEX events_position ON events (partition, position);
COMMENT ON TABLE events IS 'writer: coordinator. The log; data is the exact published bytes.';
CREATE TABLE events_default PARTITION OF events DEFAULT;
COMMENT ON TABLE events_default IS 'writer: coordinator. Events of runs whose id lies in no month that has a partition.';
