-- Updated at every step: no index holds a column that a step changes, and pages keep room, so that those updates are HOT. That is why
-- `stage` and `ended_at` follow from columns that do change, and change themselves only where a run stops: an index on them is cheap.
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
    outcome         bytea,
    stage           text        GENERATED ALWAYS AS (CASE WHEN NOT open OR status IN ('paused', 'waiting_approval') THEN status END) STORED,
    ended_at        timestamptz GENERATED ALWAYS AS (CASE WHEN NOT open THEN updated_at END) STORED
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX runs_open ON runs (partition, run_id) WHERE open;
CREATE INDEX runs_held ON runs (partition) WHERE held;
CREATE INDEX runs_tenant ON runs (tenant, run_id);
CREATE INDEX runs_agent ON runs (agent, run_id);
CREATE INDEX runs_labels ON runs USING gin (labels jsonb_path_ops, (ARRAY['a' || agent, 't' || tenant])) WHERE labels <> '{}';
CREATE INDEX runs_stage ON runs (stage, run_id, tenant) WHERE stage IS NOT NULL;
CREATE INDEX runs_agent_stage ON runs (agent, stage, run_id, tenant) WHERE stage IS NOT NULL;
CREATE INDEX runs_ended ON runs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX runs_parent ON runs (parent, run_id) WHERE parent IS NOT NULL;
CREATE INDEX runs_correlation ON runs (correlation_id text_pattern_ops) WHERE correlation_id <> run_id::text;
CREATE INDEX runs_key ON runs (idempotency_key text_pattern_ops) WHERE idempotency_key IS NOT NULL;
CREATE STATISTICS runs_owner_stage (mcv) ON tenant, agent, stage FROM runs;
COMMENT ON TABLE runs IS 'writer: coordinator. Read model and folded state of each run.';
