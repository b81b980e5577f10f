CREATE TABLE notices (
    notice_id text        PRIMARY KEY,
    run_id    uuid        NOT NULL,
    at        timestamptz NOT NULL,
    agent     text        NOT NULL,
    body      bytea       NOT NULL
);
CREATE INDEX notices_run ON notices (run_id, at);
COMMENT ON TABLE notices IS 'writer: coordinator. What supervisors were told.';
