-- name: last_index
-- Audit.append, under its lock.
SELECT coalesce(max(index), 0) FROM audit_entries;

-- name: append
-- Audit.append.
INSERT INTO audit_entries (index, run_id, seq, partition, position, digest)
SELECT e.index, e.run_id, e.seq, e.partition, e.position, e.digest
  FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::integer[], $5::bigint[], $6::bytea[])
       AS e (index, run_id, seq, partition, position, digest);

-- name: entries
-- Audit.entries of all runs. An event that is missing comes with an empty body, which no digest fits.
SELECT a.index, a.digest, a.run_id, a.seq, a.partition, a.position, coalesce(e.type, '') AS type,
       coalesce(e.recorded_at, 'epoch') AS recorded_at, coalesce(e.data, '') AS body, coalesce(e.cause, '') AS cause
  FROM audit_entries a
  LEFT JOIN events e ON e.run_id = a.run_id AND e.seq = a.seq
 WHERE a.index > $1
 ORDER BY a.index
 LIMIT $2;

-- name: entries_of_run
-- Audit.entries of one run.
SELECT a.index, a.digest, a.run_id, a.seq, a.partition, a.position, coalesce(e.type, '') AS type,
       coalesce(e.recorded_at, 'epoch') AS recorded_at, coalesce(e.data, '') AS body, coalesce(e.cause, '') AS cause
  FROM audit_entries a
  LEFT JOIN events e ON e.run_id = a.run_id AND e.seq = a.seq
 WHERE a.run_id = $3 AND a.index > $1
 ORDER BY a.index
 LIMIT $2;
