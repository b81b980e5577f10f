-- name: count_failure
-- Dead.count_failure: before a message is handled again.
INSERT INTO dead_failures AS old (source, failures, failed_at)
VALUES ($1, 1, clock_timestamp())
    ON CONFLICT (source) DO UPDATE SET failures = old.failures + 1, failed_at = excluded.failed_at
RETURNING failures;

-- name: forget
-- Dead.add: the message is dead, its count is not needed any more.
DELETE FROM dead_failures WHERE source = $1;

-- name: forget_old
-- Maintenance.upkeep: messages that went through in the end.
DELETE FROM dead_failures WHERE failed_at < clock_timestamp() - make_interval(days => $1);
