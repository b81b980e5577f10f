-- name: cursors
-- Traces.cursors.
SELECT partition, position FROM trace_cursors ORDER BY partition;

-- name: behind
-- Traces.behind: positions are dense, so their difference counts events.
SELECT p.partition, p.position - coalesce(c.position, 0) AS behind
  FROM partitions p
  LEFT JOIN trace_cursors c ON c.partition = p.partition
 WHERE p.position > coalesce(c.position, 0)
 ORDER BY p.partition;

-- name: pending
-- Traces.pending: the events behind the cursors, at most $1 of each partition and no more after $2 bytes of one. A row for each partition, with
-- columns as arrays: a row for each event costs its reader twice as much. Sizes are looked at first, which reads no large value.
SELECT p.partition, e.positions, e.run_ids, e.seqs, e.types, e.recorded, e.bodies
  FROM partitions p
  LEFT JOIN trace_cursors c ON c.partition = p.partition
 CROSS JOIN LATERAL (
       SELECT count(*) AS count
         FROM (SELECT sum(s.size) OVER (ORDER BY s.position) - s.size AS bytes_before
                 FROM (SELECT position, octet_length(data) AS size
                         FROM events
                        WHERE partition = p.partition AND position > coalesce(c.position, 0)
                        ORDER BY position
                        LIMIT $1) s) b
        WHERE b.bytes_before < $2) fit
 CROSS JOIN LATERAL (
       SELECT array_agg(f.position) AS positions, array_agg(f.run_id::text) AS run_ids, array_agg(f.seq) AS seqs, array_agg(f.type) AS types,
              array_agg(date_part('epoch', f.recorded_at)) AS recorded, array_agg(f.data) AS bodies
         FROM (SELECT position, run_id, seq, type, recorded_at, data
                 FROM events
                WHERE partition = p.partition AND position > coalesce(c.position, 0)
                ORDER BY position
                LIMIT fit.count) f) e
 WHERE p.position > coalesce(c.position, 0) AND fit.count > 0
 ORDER BY p.partition;

-- name: move
-- Traces.move: only from where the caller believes the cursor to be.
INSERT INTO trace_cursors AS c (partition, position)
SELECT n.partition, n.position FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) AS n (partition, before, position)
 WHERE n.before = 0 OR EXISTS (SELECT FROM trace_cursors t WHERE t.partition = n.partition AND t.position = n.before)
    ON CONFLICT (partition) DO UPDATE SET position = excluded.position
 WHERE c.position = (SELECT m.before FROM unnest($1::integer[], $2::bigint[]) AS m (partition, before) WHERE m.partition = c.partition)
RETURNING partition;

-- name: skip
-- Traces.skip: traces of what happened before are not exported; a cursor that is there stays.
INSERT INTO trace_cursors (partition, position)
SELECT partition, position FROM partitions
    ON CONFLICT (partition) DO NOTHING;
