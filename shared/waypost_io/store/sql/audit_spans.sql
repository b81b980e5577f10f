-- name: find
-- Audit.find: the leaf of an event, and the event.
SELECT s.index + e.position - s.position AS index, e.run_id, e.seq, e.type, e.partition, e.position, e.recorded_at, e.data AS body, e.cause
  FROM events e
 CROSS JOIN LATERAL (
       SELECT index, position, count FROM audit_spans a
        WHERE a.partition = e.partition AND a.position <= e.position
        ORDER BY a.position DESC
        LIMIT 1) s
 WHERE e.run_id = $1 AND e.seq = $2 AND e.position < s.position + s.count;

-- name: of_run
-- Audit.entries of one run.
SELECT s.index + e.position - s.position AS index, e.run_id, e.seq, e.type, e.partition, e.position, e.recorded_at, e.data AS body, e.cause
  FROM events e
 CROSS JOIN LATERAL (
       SELECT index, position, count FROM audit_spans a
        WHERE a.partition = e.partition AND a.position <= e.position
        ORDER BY a.position DESC
        LIMIT 1) s
 WHERE e.run_id = $1 AND e.seq > $2 AND e.position < s.position + s.count
 ORDER BY e.seq
 LIMIT $3;

-- name: entries
-- Audit.entries of all runs: leaves `[$1, $2)`, not in order. Two events for one leaf come twice, none for it leaves it out. The limit is a
-- fence: without it the planner joins all events of a partition. It leaves room for events that somebody added.
SELECT s.index + e.position - s.position AS index, e.run_id, e.seq, e.type, e.partition, e.position, e.recorded_at, e.data AS body, e.cause
  FROM audit_spans s
 CROSS JOIN LATERAL (
       SELECT * FROM events v
        WHERE v.partition = s.partition
          AND v.position >= s.position + greatest($1 - s.index, 0) AND v.position < s.position + least(s.count, $2 - s.index)
        ORDER BY v.position
        LIMIT s.count + 1000) e
 WHERE s.index >= coalesce((SELECT max(index) FROM audit_spans WHERE index <= $1), 0) AND s.index < $2;

-- name: spans
-- Audit.spans: the spans that hold leaves `[$1, $2)`.
SELECT partition, position, index, count, recorded_from, recorded_to
  FROM audit_spans
 WHERE index >= coalesce((SELECT max(index) FROM audit_spans WHERE index <= $1), 0) AND index < $2
 ORDER BY index
 LIMIT $3;

-- name: strays
-- Audit.strays.
SELECT e.run_id, e.seq, e.type, e.partition, e.position, e.recorded_at, e.data AS body, e.cause
  FROM events e
  LEFT JOIN partitions p ON p.partition = e.partition
 WHERE e.position < 1 OR p.partition IS NULL OR e.position > p.position
 ORDER BY e.run_id, e.seq
 LIMIT $1;

-- name: spans_of
-- Audit.spans_of: an export of a time range. Spans are few, so they are looked through.
SELECT partition, position, index, count, recorded_from, recorded_to
  FROM audit_spans
 WHERE recorded_to >= $1 AND recorded_from < $2 AND index > $3
 ORDER BY index
 LIMIT $4;
