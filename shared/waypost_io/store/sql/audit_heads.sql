-- name: add
-- Audit.add_head. Idempotent.
INSERT INTO audit_heads (size, key_id, signed_at, note) VALUES ($1, $2, $3, $4) ON CONFLICT (size, key_id) DO NOTHING;

-- name: heads
-- Audit.heads: from size $1 on, oldest first.
SELECT size, key_id, signed_at, note FROM audit_heads WHERE size >= $1 ORDER BY size, signed_at LIMIT $2;

-- name: newest
-- Audit.newest_head: the largest of at most size $1.
SELECT size, key_id, signed_at, note FROM audit_heads WHERE size <= $1 ORDER BY size DESC, signed_at DESC LIMIT 1;
