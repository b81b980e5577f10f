-- name: newest
-- Traces.runs: those that started in a range of time, newest first. Only the first $4 of the range are looked at.
SELECT run_id, tenant, agent, status, open, created_at, updated_at
  FROM (SELECT run_id, tenant, agent, status, open, created_at, updated_at, labels
          FROM runs
         WHERE run_id >= $1 AND run_id < $2 AND ($3::text IS NULL OR tenant = $3)
         ORDER BY run_id DESC
         LIMIT $4) r
 WHERE ($5::text[] IS NULL OR status = ANY ($5)) AND ($6::jsonb IS NULL OR labels @> $6)
 ORDER BY run_id DESC
 LIMIT $7;

-- name: newest_of_agent
-- Traces.runs of one agent.
SELECT run_id, tenant, agent, status, open, created_at, updated_at
  FROM (SELECT run_id, tenant, agent, status, open, created_at, updated_at, labels
          FROM runs
         WHERE agent = $8 AND run_id >= $1 AND run_id < $2 AND ($3::text IS NULL OR tenant = $3)
         ORDER BY run_id DESC
         LIMIT $4) r
 WHERE ($5::text[] IS NULL OR status = ANY ($5)) AND ($6::jsonb IS NULL OR labels @> $6)
 ORDER BY run_id DESC
 LIMIT $7;

-- name: still_open
-- Traces.runs: those that started earlier and have not ended. At most $4 of each partition are looked at.
SELECT r.run_id, r.tenant, r.agent, r.status, r.open, r.created_at, r.updated_at
  FROM partitions p
 CROSS JOIN LATERAL (
       SELECT run_id, tenant, agent, status, open, created_at, updated_at, labels
         FROM runs
        WHERE partition = p.partition AND open AND run_id < $1
        ORDER BY run_id DESC
        LIMIT $4) r
 WHERE ($2::text IS NULL OR r.tenant = $2) AND ($3::text IS NULL OR r.agent = $3)
   AND ($5::text[] IS NULL OR r.status = ANY ($5)) AND ($6::jsonb IS NULL OR r.labels @> $6)
 ORDER BY r.run_id DESC
 LIMIT $7;

-- name: events_of
-- Traces.events_of: the histories of several runs, at most $2 events of each.
SELECT run_id, seq, type, recorded_at, data AS body
  FROM events
 WHERE run_id = ANY ($1::uuid[]) AND seq > $2 AND seq <= $3
 ORDER BY run_id, seq;

-- name: labels
-- Traces.labels: names and values of the labels of the newest runs.
SELECT DISTINCT l.key, l.value
  FROM (SELECT labels FROM runs WHERE $1::text IS NULL OR tenant = $1 ORDER BY run_id DESC LIMIT $2) r,
       jsonb_each_text(r.labels) l
 ORDER BY l.key, l.value
 LIMIT $3;
