-- name: due
-- Timers.due: what the heap of a partition's owner holds next.
SELECT run_id, timer_id, partition, due_at
  FROM timers
 WHERE partition = ANY ($1::integer[]) AND due_at < $2
 ORDER BY due_at, run_id, timer_id
 LIMIT $3;
