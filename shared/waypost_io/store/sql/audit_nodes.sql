-- name: nodes
-- Audit.hashes of a level above 0: nodes `[$2, $3)`.
SELECT index, hash FROM audit_nodes WHERE level = $1 AND index >= $2 AND index < $3 ORDER BY index;
