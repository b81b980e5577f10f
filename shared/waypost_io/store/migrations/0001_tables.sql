-- Tables. Later changes come in later files; schema/ shows the sum.

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
    args            bytea       NOT NULL
);
CREATE INDEX approvals_run ON approvals (run_id);
CREATE INDEX approvals_open ON approvals (requested_at) WHERE state = 'open';
COMMENT ON TABLE approvals IS 'writer: coordinator; the gateway moves granted to used.';

CREATE TABLE audit_cursors (
    partition integer PRIMARY KEY,
    position  bigint  NOT NULL
);
COMMENT ON TABLE audit_cursors IS 'writer: audit logger. Per partition the position of the last event taken over.';

-- The leaves of the audit log in order. The bytes stay in events: an entry proves them, it does not copy them.
CREATE TABLE audit_entries (
    index     bigint  PRIMARY KEY,
    run_id    uuid    NOT NULL,
    seq       bigint  NOT NULL,
    position  bigint  NOT NULL,
    partition integer NOT NULL,
    digest    bytea   NOT NULL,
    UNIQUE (partition, position)
);
CREATE INDEX audit_entries_run ON audit_entries (run_id, index);
COMMENT ON TABLE audit_entries IS 'writer: audit logger. One leaf per event, numbered from 1 without a gap.';

CREATE TABLE blobs (
    sha256     text        NOT NULL,
    index      integer     NOT NULL,
    chunks     integer     NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    data       bytea       NOT NULL,
    PRIMARY KEY (sha256, index)
);
COMMENT ON TABLE blobs IS 'writers: coordinator, gateway. Values too large for a message, in chunks.';

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
COMMENT ON TABLE dead IS 'writer: coordinator. What could not be processed; run_id is text because it may be no run id at all.';

CREATE TABLE dead_failures (
    source    text        PRIMARY KEY,
    failures  integer     NOT NULL,
    failed_at timestamptz NOT NULL
);
COMMENT ON TABLE dead_failures IS 'writer: coordinator. How often handling a message failed.';

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

CREATE TABLE inbox (
    message_id text        PRIMARY KEY,
    run_id     uuid        NOT NULL,
    sent_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    partition  integer     NOT NULL,
    subject    text        NOT NULL,
    body       bytea       NOT NULL
);
CREATE INDEX inbox_partition ON inbox (partition, message_id);
COMMENT ON TABLE inbox IS 'writer: coordinator. Messages between runs, from the sender''s commit until the receiver''s.';

CREATE TABLE notices (
    notice_id text        PRIMARY KEY,
    run_id    uuid        NOT NULL,
    at        timestamptz NOT NULL,
    agent     text        NOT NULL,
    body      bytea       NOT NULL
);
CREATE INDEX notices_run ON notices (run_id, at);
COMMENT ON TABLE notices IS 'writer: coordinator. What supervisors were told.';

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

-- Updated at every step: no index holds a column that a step changes, and pages keep room, so that those updates are HOT. That is why
-- `worker` has none: the open runs of a partition are read when a worker is lost, which is rare.
-- Not partitioned: a row per run is small, and retention deletes it with its month of events.
CREATE TABLE runs (
    run_id          uuid        PRIMARY KEY,
    seq             bigint      NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    deadline_at     timestamptz,
    parent          uuid,
    partition       integer     NOT NULL,
    state_version   integer     NOT NULL,
    open            boolean     NOT NULL,
    held            boolean     NOT NULL,
    tenant          text        NOT NULL,
    agent           text        NOT NULL,
    build           text        NOT NULL,
    status          text        NOT NULL,
    worker          text        NOT NULL,
    correlation_id  text        NOT NULL,
    idempotency_key text,
    labels          jsonb       NOT NULL,
    state           bytea       NOT NULL,
    outcome         bytea
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX runs_open ON runs (partition, run_id) WHERE open;
CREATE INDEX runs_held ON runs (partition) WHERE held;
CREATE INDEX runs_tenant ON runs (tenant, run_id);
CREATE INDEX runs_agent ON runs (agent, run_id);
CREATE INDEX runs_labels ON runs USING gin (labels jsonb_path_ops) WHERE labels <> '{}';
COMMENT ON TABLE runs IS 'writer: coordinator. Read model and folded state of each run.';

CREATE TABLE streams (
    name     text        PRIMARY KEY,
    created  text        NOT NULL,
    last_seq bigint      NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE streams IS 'writer: coordinator. Identity and progress of each JetStream stream, to notice a wipe.';

CREATE TABLE timers (
    run_id    uuid        NOT NULL,
    due_at    timestamptz NOT NULL,
    partition integer     NOT NULL,
    timer_id  text        NOT NULL,
    PRIMARY KEY (run_id, timer_id)
);
CREATE INDEX timers_due ON timers (partition, due_at);
COMMENT ON TABLE timers IS 'writer: coordinator. When to wake a run.';

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
    PRIMARY KEY (run_id, call_id)
) WITH (fillfactor = 70);
COMMENT ON TABLE tool_ledger IS 'writers: coordinator (permits, revocations), gateway (everything after). At most one effect per key.';
COMMENT ON COLUMN tool_ledger.spent IS 'An attempt of this call has used approval_id; further attempts of the same call go under it.';
