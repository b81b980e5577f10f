-- name: cursors
-- Audit.cursors.
SELECT partition, position FROM audit_cursors ORDER BY partition;

-- name: lock
-- Audit.append: one appender at a time, because entries are numbered without a gap. Ends with the transaction.
SELECT pg_advisory_xact_lock($1::bigint);

-- name: move
-- Audit.append.
INSERT INTO audit_cursors (partition, position)
SELECT c.partition, c.position FROM unnest($1::integer[], $2::bigint[]) AS c (partition, position)
    ON CONFLICT (partition) DO UPDATE SET position = excluded.position;

-- name: lag
-- Audit.lag: positions are dense, so their difference counts events.
SELECT p.partition, greatest(p.position - coalesce(c.position, 0), 0) AS behind
  FROM partitions p
  LEFT JOIN audit_cursors c ON c.partition = p.partition
 ORDER BY p.partition;
