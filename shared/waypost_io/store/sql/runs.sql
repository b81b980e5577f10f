-- name: load_runs
-- Log.load_runs, Reads.get: the state of runs that are not cached.
SELECT run_id, partition, tenant, agent, build, status, open, held, worker, seq, created_at, updated_at, deadline_at, parent,
       correlation_id, idempotency_key, labels, state, state_version, outcome
  FROM runs
 WHERE run_id = ANY ($1::uuid[]);

-- name: open_runs
-- Log.open_runs: the sweep over a partition.
SELECT run_id, partition, tenant, agent, build, status, open, held, worker, seq, created_at, updated_at, deadline_at, parent,
       correlation_id, idempotency_key, labels, state, state_version, outcome
  FROM runs
 WHERE partition = $1 AND run_id > $2 AND open
 ORDER BY run_id
 LIMIT $3;

-- name: held_runs
-- Log.held_runs: who waits for a host, when a definition arrives.
SELECT run_id FROM runs WHERE partition = ANY ($1::integer[]) AND held ORDER BY run_id;

-- name: runs_of_workers
-- Log.runs_of_workers: a worker is lost.
SELECT run_id
  FROM runs
 WHERE partition = ANY ($1::integer[]) AND worker = ANY ($2::text[]) AND open AND worker <> ''
 ORDER BY run_id;

-- name: sticky_workers
-- Log.sticky_workers: take-over asks which of them still live.
SELECT DISTINCT worker FROM runs WHERE partition = ANY ($1::integer[]) AND open AND worker <> '' ORDER BY worker;

-- name: list_runs
-- Reads.list without labels: newest first, a page at a time by run id.
SELECT run_id, partition, tenant, agent, build, status, open, held, worker, seq, created_at, updated_at, deadline_at, parent,
       correlation_id, idempotency_key, labels, state, state_version, outcome
  FROM runs
 WHERE ($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR agent = $2) AND ($3::text IS NULL OR status = $3)
   AND ($4::uuid IS NULL OR run_id < $4)
 ORDER BY run_id DESC
 LIMIT $5;

-- name: list_runs_by_labels
-- Reads.list with labels. The last condition lets the partial index on labels be used.
SELECT run_id, partition, tenant, agent, build, status, open, held, worker, seq, created_at, updated_at, deadline_at, parent,
       correlation_id, idempotency_key, labels, state, state_version, outcome
  FROM runs
 WHERE ($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR agent = $2) AND ($3::text IS NULL OR status = $3)
   AND ($4::uuid IS NULL OR run_id < $4) AND labels @> $6::jsonb AND labels <> '{}'
 ORDER BY run_id DESC
 LIMIT $5;
