-- A few rows, each updated by every commit: room on the page keeps those updates HOT.
CREATE TABLE partitions (
    partition  integer     PRIMARY KEY,
    epoch      bigint      NOT NULL DEFAULT 0,
    owner      text        NOT NULL DEFAULT '',
    expires_at timestamptz NOT NULL DEFAULT 'epoch',
    position   bigint      NOT NULL DEFAULT 0,
    published  bigint      NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
COMMENT ON TABLE partitions IS 'writer: coordinator. Leases (fenced by epoch) and how far each partition is committed and published.';
