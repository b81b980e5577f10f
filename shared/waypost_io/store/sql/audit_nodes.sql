-- name: nodes
-- Audit.hashes of a level above 0: nodes `[$2, $3)`.
SELECT index, hash FROM audit_nodes WHERE level = $1 AND index >= $2 AND index < $3 ORDER BY index;

-- name: pieces
-- Audit.pieces: hashes `[low, high)` of several levels, each piece as one value; of leaves only the slice that is wanted is read.
SELECT CASE WHEN w.level > 0 THEN (
           SELECT coalesce(string_agg(n.hash, ''::bytea ORDER BY n.index), ''::bytea)
             FROM audit_nodes n
            WHERE n.level = w.level AND n.index >= w.low AND n.index < w.high)
       ELSE (
           SELECT coalesce(string_agg(substring(
                      l.hashes FROM (greatest(w.low - l.index, 0) * 32 + 1)::integer
                      FOR greatest((least(l.index + l.count, w.high) - greatest(l.index, w.low)) * 32, 0)::integer
                  ), ''::bytea ORDER BY l.index), ''::bytea)
             FROM audit_leaves l
            WHERE l.index >= coalesce((SELECT max(index) FROM audit_leaves WHERE index <= w.low), 0) AND l.index < w.high)
       END AS hashes
  FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS w (level, low, high, number)
 ORDER BY w.number;
