CREATE FUNCTION waypost_uuid7_floor(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
COMMENT ON FUNCTION waypost_uuid7_floor IS 'The smallest UUID that sorts with the UUIDv7s of that millisecond.';

-- Attached rather than created in place: that takes no lock on events which would stop a commit. Rows of the month that lie in
-- the default partition already are moved. Runs as the owner, so that a coordinator without CREATE may call it.
CREATE FUNCTION waypost_create_event_partitions(p_months_ahead integer) RETURNS SETOF text LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    v_month timestamptz;
    v_name  text;
    v_from  uuid;
    v_to    uuid;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('waypost_create_event_partitions'));
    FOR i IN 0 .. p_months_ahead LOOP
        v_month := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => i)) AT TIME ZONE 'UTC';
        v_name := 'events_' || to_char(v_month AT TIME ZONE 'UTC', 'YYYY_MM');
        CONTINUE WHEN to_regclass(v_name) IS NOT NULL;
        v_from := waypost_uuid7_floor(v_month);
        v_to := waypost_uuid7_floor((v_month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
        EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', v_name);
        EXECUTE format('WITH moved AS (DELETE FROM events_default WHERE run_id >= %L AND run_id < %L RETURNING *)
                        INSERT INTO %I SELECT * FROM moved', v_from, v_to, v_name);
        EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', v_name, v_from, v_to);
        RETURN NEXT v_name;
    END LOOP;
END
$$;
COMMENT ON FUNCTION waypost_create_event_partitions IS
    'Partitions of events for this month and the next ones; returns the names of those it made. Idempotent.';
REVOKE EXECUTE ON FUNCTION waypost_create_event_partitions FROM PUBLIC;
