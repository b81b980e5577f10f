CREATE TABLE definitions (
    kind      text        NOT NULL CHECK (kind IN ('agent', 'tool')),
    name      text        NOT NULL,
    build     text        NOT NULL,
    put_order bigint      GENERATED ALWAYS AS IDENTITY,
    put_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    body      bytea       NOT NULL,
    PRIMARY KEY (kind, name, build)
);
COMMENT ON TABLE definitions IS 'writer: coordinator. What workers and gateways announced; build is empty for tools; the highest put_order is current.';
