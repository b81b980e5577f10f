CREATE TABLE timers (
    run_id    uuid        NOT NULL,
    due_at    timestamptz NOT NULL,
    partition integer     NOT NULL,
    timer_id  text        NOT NULL,
    PRIMARY KEY (run_id, timer_id)
);
CREATE INDEX timers_due ON timers (partition, due_at);
COMMENT ON TABLE timers IS 'writer: coordinator. When to wake a run.';
