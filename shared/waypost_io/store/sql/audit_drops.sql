-- name: drops
-- Audit.drops.
SELECT what, dropped_at, leaves, note FROM audit_drops ORDER BY number;

-- name: add
-- Retention.drop.
INSERT INTO audit_drops (what, leaves, note) VALUES ($1, $2, $3);

-- name: partitions
-- Retention.partitions: those of whole months, oldest first, with the first moment after each.
SELECT c.relname AS name, (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' AS ends
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
 WHERE i.inhparent = 'events'::regclass AND c.relname ~ '^events_\d{4}_\d{2}$'
 ORDER BY c.relname;

-- name: kept
-- Retention.drop: runs whose events stay.
SELECT waypost_kept_runs($1, $2) AS run_id;

-- name: droppable
-- Retention.drop: the leaves of what goes.
SELECT events, runs, upto, leaves, untaken, changed FROM waypost_droppable($1, $2);

-- name: drop
-- Retention.drop: how many events stay.
SELECT waypost_drop_event_partition($1, $2) AS kept;
