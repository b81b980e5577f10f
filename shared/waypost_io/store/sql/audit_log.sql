-- name: acquire
-- Audit.acquire: make the log if there is none, and take or renew the right to append.
INSERT INTO audit_log AS l (origin, owner, epoch, expires_at)
VALUES ($2, $1, 1, clock_timestamp() + make_interval(secs => $3))
    ON CONFLICT (one) DO UPDATE
       SET owner = excluded.owner, epoch = l.epoch + (l.owner <> excluded.owner)::integer, expires_at = excluded.expires_at
     WHERE l.owner = excluded.owner OR l.expires_at < clock_timestamp()
RETURNING origin, owner, epoch, size;

-- name: release
-- Audit.release.
UPDATE audit_log SET expires_at = '-infinity', owner = '' WHERE owner = $1 AND epoch = $2;

-- name: state
-- Audit.state.
SELECT origin, owner, epoch, size, expires_at > clock_timestamp() AS held FROM audit_log;

-- name: append
-- Audit.append. Arguments: those of waypost_audit_append, in order.
SELECT waypost_audit_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);
