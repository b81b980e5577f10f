-- name: add
-- Audit.add_key.
INSERT INTO audit_keys (number, key_id, size, added_at, note) VALUES ($1, $2, $3, $4, $5);

-- name: keys
-- Audit.keys.
SELECT number, key_id, size, added_at, note FROM audit_keys ORDER BY number;
