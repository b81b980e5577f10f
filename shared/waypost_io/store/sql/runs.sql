-- name: load_runs
-- Log.load_runs, Reads.get: the state of runs that are not cached.
SELECT run_id, partition, tenant, agent, build, status, open, held, worker, seq, created_at, updated_at, deadline_at, parent,
       correlation_id, idempotency_key, labels, state, state_version, outcome
  FROM runs
 WHERE run_id = ANY ($1::uuid[]);

-- name: glance
-- Reads.glance: the edge, of runs that are watched.
SELECT run_id, seq, open, tenant, agent, status, updated_at, labels FROM runs WHERE run_id = ANY ($1::uuid[]);

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
-- Reads.list: newest first, a page at a time by run id. See schema/function_find_runs.sql.
SELECT run_id, partition, tenant, agent, build, status, open, held, worker, seq, created_at, updated_at, deadline_at, parent,
       correlation_id, idempotency_key, labels, state, state_version, outcome
  FROM waypost_find_runs($1, $2, $3, $4::jsonb, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: overview
-- Overview.open_runs, every few seconds: the open runs of the partitions that a replica owns, through runs_open, and nothing that has ended.
SELECT agent, status, count(*) AS count, count(*) FILTER (WHERE held) AS unhosted,
       count(*) FILTER (WHERE deadline_at < clock_timestamp() + $2::float8 * (deadline_at - created_at)) AS near,
       min(deadline_at) AS next_deadline_at
  FROM runs
 WHERE partition = ANY ($1::integer[]) AND open
 GROUP BY agent, status
 ORDER BY agent, status;

-- name: doubtful
-- Overview.doubtful: open runs with a call that was started and not settled. LIMIT keeps it to one look-up by key per open run: joined otherwise,
-- the whole ledger would be read.
SELECT r.run_id, r.partition, r.tenant, r.agent, r.build, r.status, r.open, r.held, r.worker, r.seq, r.created_at, r.updated_at, r.deadline_at,
       r.parent, r.correlation_id, r.idempotency_key, r.labels, r.state, r.state_version, r.outcome
  FROM runs r
 CROSS JOIN LATERAL (SELECT 1 FROM tool_ledger l WHERE l.run_id = r.run_id AND l.state IN ('started', 'doubt') LIMIT 1) AS unsettled
 WHERE r.partition = ANY ($1::integer[]) AND r.open
 ORDER BY r.run_id
 LIMIT $2;
