-- name: load
-- Streams.load: was a stream wiped?
SELECT name, created, last_seq FROM streams;

-- name: save
-- Streams.save, now and then.
INSERT INTO streams (name, created, last_seq)
SELECT n.name, n.created, n.last_seq FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n (name, created, last_seq)
    ON CONFLICT (name) DO UPDATE SET created = excluded.created, last_seq = excluded.last_seq, saved_at = clock_timestamp();
