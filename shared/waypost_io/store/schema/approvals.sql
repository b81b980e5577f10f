CREATE TABLE approvals (
    approval_id     text        PRIMARY KEY,
    run_id          uuid        NOT NULL,
    requested_at    timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    decided_at      timestamptz,
    agent           text        NOT NULL,
    call_id         text        NOT NULL,
    tool            text        NOT NULL,
    args_digest     text        NOT NULL,
    role            text        NOT NULL,
    reason          text        NOT NULL,
    tenant          text        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('open', 'granted', 'denied', 'expired', 'withdrawn', 'used')),
    decided_by      text        NOT NULL,
    decision_reason text        NOT NULL,
    args            bytea       NOT NULL,
    policy_version  text        NOT NULL DEFAULT '',
    details         bytea
);
CREATE INDEX approvals_run ON approvals (run_id);
CREATE INDEX approvals_open ON approvals (requested_at) WHERE state = 'open';
COMMENT ON TABLE approvals IS 'writer: coordinator; the gateway moves granted to used. A question that an agent asks is a row too.';
COMMENT ON COLUMN approvals.details IS 'JSON: quorum, who has approved so far, the question and its schema, what it replaces.';
