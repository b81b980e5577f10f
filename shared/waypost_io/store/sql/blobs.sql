-- name: put
-- Blobs.put: a whole value, whose digest its caller has just computed, mends a broken upload. Sorted, as in a commit.
INSERT INTO blobs AS old (sha256, index, chunks, data)
SELECT $1, b.index, $2, b.data
  FROM unnest($3::integer[], $4::bytea[]) AS b (index, data)
 ORDER BY b.index
    ON CONFLICT (sha256, index) DO UPDATE SET chunks = excluded.chunks, data = excluded.data
 WHERE (old.chunks, old.data) IS DISTINCT FROM (excluded.chunks, excluded.data);

-- name: put_chunk
-- Blobs.put_chunk: the first one stays, so an upload cannot change a value that is there.
INSERT INTO blobs (sha256, index, chunks, data) VALUES ($1, $2, $3, $4) ON CONFLICT (sha256, index) DO NOTHING;

-- name: get
-- Blobs.get.
SELECT chunks, data FROM blobs WHERE sha256 = $1 ORDER BY index;

-- name: get_chunk
-- Blobs.get_chunk.
SELECT data, chunks FROM blobs WHERE sha256 = $1 AND index = $2;
