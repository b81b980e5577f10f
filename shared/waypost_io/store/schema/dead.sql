CREATE TABLE dead (
    dead_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    source  text        NOT NULL UNIQUE,
    origin  text        NOT NULL,
    subject text        NOT NULL,
    reason  text        NOT NULL,
    run_id  text,
    headers bytea       NOT NULL,
    body    bytea       NOT NULL
);
COMMENT ON TABLE dead IS 'writers: coordinator, gateway. What could not be processed; run_id is text because it may be no run id at all.';
