-- name: cursors
-- Audit.cursors.
SELECT partition, position FROM audit_cursors ORDER BY partition;

-- name: lag
-- Audit.lag: positions are dense, so their difference counts events.
SELECT p.partition, greatest(p.position - coalesce(c.position, 0), 0) AS behind
  FROM partitions p
  LEFT JOIN audit_cursors c ON c.partition = p.partition
 ORDER BY p.partition;

-- name: pending
-- Audit.pending: the leaves of the events behind the cursors, made where the events are. What follows a gap is not taken; `gap` is the position
-- found instead of the one expected.
SELECT p.partition, coalesce(c.position, 0) + 1 AS position, p.position - coalesce(c.position, 0) AS behind,
       e.leaves, e.recorded_from, e.recorded_to, e.gap
  FROM partitions p
  LEFT JOIN audit_cursors c ON c.partition = p.partition
 CROSS JOIN LATERAL (
       SELECT coalesce(string_agg(
                  sha256('\x0001'::bytea || uuid_send(d.run_id) || int8send(d.seq) || d.data), ''::bytea ORDER BY d.number
              ) FILTER (WHERE d.dense), ''::bytea) AS leaves,
              min(d.recorded_at) FILTER (WHERE d.dense) AS recorded_from,
              max(d.recorded_at) FILTER (WHERE d.dense) AS recorded_to,
              min(d.position) FILTER (WHERE NOT d.dense) AS gap
         FROM (SELECT n.*, n.position = coalesce(c.position, 0) + n.number AS dense
                 FROM (SELECT f.*, row_number() OVER (ORDER BY f.position) AS number
                         FROM (SELECT run_id, seq, position, recorded_at, data
                                 FROM events
                                WHERE partition = p.partition AND position > coalesce(c.position, 0)
                                ORDER BY position
                                LIMIT $1) f) n) d
       ) e
 WHERE p.position > coalesce(c.position, 0)
 ORDER BY p.partition;
