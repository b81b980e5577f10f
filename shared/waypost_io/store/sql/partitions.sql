-- name: now
-- Leases.now: everybody's clock.
SELECT clock_timestamp() AS now;

-- name: create
-- Leases.ensure_partitions: creates the rows only in an empty table, so that a wrong count adds none.
INSERT INTO partitions (partition)
SELECT n FROM generate_series(0, $1::integer - 1) AS n WHERE NOT EXISTS (SELECT FROM partitions)
    ON CONFLICT DO NOTHING;

-- name: count
-- Leases.ensure_partitions: how many there are.
SELECT count(*) FROM partitions;

-- name: acquire
-- Leases.acquire. Rows that somebody is changing in this moment are skipped: they are not free.
WITH free AS (
    SELECT partition FROM partitions
     WHERE owner = '' OR expires_at <= clock_timestamp()
     ORDER BY partition
     LIMIT $2
       FOR UPDATE SKIP LOCKED
)
UPDATE partitions p
   SET owner = $1, epoch = p.epoch + 1, expires_at = clock_timestamp() + make_interval(secs => $3)
  FROM free
 WHERE p.partition = free.partition
RETURNING p.partition, p.epoch, p.owner, p.expires_at, p.position, p.published;

-- name: renew
-- Leases.renew. Rows are locked in order first: commits lock several too.
WITH ours AS MATERIALIZED (
    SELECT p.partition
      FROM partitions p
      JOIN unnest($2::integer[], $3::bigint[]) AS o (partition, epoch) ON p.partition = o.partition AND p.epoch = o.epoch
     WHERE p.owner = $1
     ORDER BY p.partition
       FOR NO KEY UPDATE OF p
)
UPDATE partitions p
   SET expires_at = clock_timestamp() + make_interval(secs => $4)
  FROM ours
 WHERE p.partition = ours.partition
RETURNING p.partition, p.epoch, p.owner, p.expires_at, p.position, p.published;

-- name: release
-- Leases.release: the epoch stays, the next owner raises it.
WITH ours AS MATERIALIZED (
    SELECT p.partition
      FROM partitions p
      JOIN unnest($2::integer[], $3::bigint[]) AS o (partition, epoch) ON p.partition = o.partition AND p.epoch = o.epoch
     WHERE p.owner = $1
     ORDER BY p.partition
       FOR NO KEY UPDATE OF p
)
UPDATE partitions p
   SET owner = '', expires_at = 'epoch'
  FROM ours
 WHERE p.partition = ours.partition;

-- name: owners
-- Leases.owners: sharing out, `waypost doctor`, the audit logger.
SELECT partition, epoch, owner, expires_at, position, published FROM partitions ORDER BY partition;
