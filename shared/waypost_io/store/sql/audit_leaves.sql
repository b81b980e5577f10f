-- name: leaves
-- Audit.hashes of level 0: the rows that hold leaves `[$1, $2)`.
SELECT index, hashes
  FROM audit_leaves
 WHERE index >= coalesce((SELECT max(index) FROM audit_leaves WHERE index <= $1), 0) AND index < $2
 ORDER BY index;
