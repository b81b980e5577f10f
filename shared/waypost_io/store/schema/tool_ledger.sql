CREATE TABLE tool_ledger (
    run_id          uuid        NOT NULL,
    written_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until     timestamptz,
    hard_deadline   timestamptz,
    attempt         integer     NOT NULL,
    spent           boolean     NOT NULL DEFAULT false,
    call_id         text        NOT NULL,
    tool            text        NOT NULL,
    args_digest     text        NOT NULL,
    effect          text        NOT NULL,
    idempotency_key text        NOT NULL,
    approval_id     text,
    state           text        NOT NULL CHECK (state IN ('permitted', 'started', 'done', 'failed', 'doubt', 'revoked')),
    gateway         text        NOT NULL DEFAULT '',
    result          bytea,
    doubt           boolean     GENERATED ALWAYS AS (state = 'doubt') STORED,
    PRIMARY KEY (run_id, call_id)
) WITH (fillfactor = 70);
CREATE INDEX tool_ledger_doubt ON tool_ledger (run_id) WHERE doubt;
COMMENT ON TABLE tool_ledger IS 'writers: coordinator (permits, revocations), gateway (everything after). At most one effect per key.';
COMMENT ON COLUMN tool_ledger.spent IS 'An attempt of this call has used approval_id; further attempts of the same call go under it.';
