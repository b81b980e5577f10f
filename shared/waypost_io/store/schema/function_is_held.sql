CREATE FUNCTION waypost_is_held(p_partition integer, p_run_id uuid, p_held integer[]) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(p_partition, (SELECT r.partition FROM runs r WHERE r.run_id = p_run_id), p_held[1]) = ANY (p_held)
$$;
COMMENT ON FUNCTION waypost_is_held IS
    'Whether the run''s partition is among p_held. An unknown partition is that of the stored run; without one the row may be written.';
