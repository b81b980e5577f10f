-- name: add
-- Dead.add. The update changes nothing; it makes the id of a row that was there come back.
INSERT INTO dead AS old (source, origin, subject, reason, run_id, headers, body)
VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (source) DO UPDATE SET source = old.source
RETURNING dead_id;

-- name: list
-- Dead.list: `waypost dead list`.
SELECT dead_id, origin, reason, at, octet_length(body) AS size, substr(body, 1, 200) AS excerpt, run_id
  FROM dead
 WHERE dead_id > $1
 ORDER BY dead_id
 LIMIT $2;

-- name: get
-- Dead.get: showing or redriving one.
SELECT dead_id, origin, reason, at, octet_length(body) AS size, substr(body, 1, 200) AS excerpt, run_id, subject, body, headers
  FROM dead
 WHERE dead_id = $1;

-- name: remove
-- Dead.remove: it was redriven or discarded.
DELETE FROM dead WHERE dead_id = $1;
