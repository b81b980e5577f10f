-- What retention has dropped: `note` is the signed statement, `leaves` the list that it has the digest of (waypost_core.audit.drops).
CREATE TABLE audit_drops (
    number     integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    what       text        NOT NULL UNIQUE,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    leaves     text        NOT NULL,
    note       text        NOT NULL
);
COMMENT ON TABLE audit_drops IS 'writer: waypost prune. Signed statements of what was dropped.';

-- Runs of a partition of events that must stay: those that have not ended, ended after p_before, are not known, or belong to a run that
-- has not ended.
CREATE FUNCTION waypost_kept_runs(p_name text, p_before timestamptz) RETURNS SETOF uuid LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE format('
        SELECT e.run_id
          FROM (SELECT DISTINCT run_id FROM %I) e
          LEFT JOIN runs r ON r.run_id = e.run_id
          LEFT JOIN runs p ON p.run_id = r.parent
         WHERE r.run_id IS NULL OR r.open OR r.held OR r.updated_at >= $1 OR p.open
            OR EXISTS (SELECT FROM inbox i WHERE i.run_id = e.run_id)
            OR e.run_id IN (SELECT parent FROM runs WHERE open AND parent IS NOT NULL)', p_name) USING p_before;
END
$$;
COMMENT ON FUNCTION waypost_kept_runs IS 'Runs whose events stay when a partition of events is dropped.';

-- `untaken`: events that are not in the audit log; `changed`: events that do not fit their leaves. Both must be 0 before anything is dropped.
CREATE FUNCTION waypost_droppable(
    p_name text, p_kept uuid[],
    OUT events bigint, OUT runs bigint, OUT upto bigint, OUT leaves text, OUT untaken bigint, OUT changed bigint
) LANGUAGE plpgsql STABLE AS $$
BEGIN
    EXECUTE format('
        WITH found AS (
            SELECT e.run_id, s.index + e.position - s.position AS leaf,
                   sha256(''\x0001''::bytea || uuid_send(e.run_id) || int8send(e.seq) || e.data)
                   = substring(l.hashes FROM ((s.index + e.position - s.position - l.index) * 32 + 1)::integer FOR 32) AS fits
              FROM %I e
              LEFT JOIN LATERAL (
                   SELECT a.index, a.position, a.count FROM audit_spans a
                    WHERE a.partition = e.partition AND a.position <= e.position
                    ORDER BY a.position DESC LIMIT 1) s ON e.position < s.position + s.count
              LEFT JOIN LATERAL (
                   SELECT b.index, b.hashes FROM audit_leaves b
                    WHERE b.index <= s.index + e.position - s.position
                    ORDER BY b.index DESC LIMIT 1) l ON true
             WHERE e.run_id <> ALL ($1)
        ), islands AS (
            SELECT min(leaf) AS low, count(*) AS count
              FROM (SELECT leaf, leaf - row_number() OVER (ORDER BY leaf) AS island FROM found WHERE leaf IS NOT NULL) f
             GROUP BY island
        )
        SELECT count(*), count(DISTINCT run_id), coalesce(max(leaf) + 1, 0),
               (SELECT coalesce(string_agg(low || ''+'' || count, '','' ORDER BY low), '''') FROM islands),
               count(*) FILTER (WHERE leaf IS NULL), count(*) FILTER (WHERE leaf IS NOT NULL AND fits IS NOT TRUE)
          FROM found', p_name) USING p_kept INTO events, runs, upto, leaves, untaken, changed;
END
$$;
COMMENT ON FUNCTION waypost_droppable IS 'What of a partition of events could be dropped, by leaves of the audit log.';

CREATE FUNCTION waypost_drop_event_partition(p_name text, p_kept uuid[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_kept bigint;
BEGIN
    EXECUTE format('CREATE TEMP TABLE waypost_kept_events ON COMMIT DROP AS SELECT * FROM %I WHERE run_id = ANY ($1)', p_name) USING p_kept;
    EXECUTE format('ALTER TABLE events DETACH PARTITION %I', p_name);
    EXECUTE format('DROP TABLE %I', p_name);
    INSERT INTO events SELECT * FROM waypost_kept_events;
    GET DIAGNOSTICS v_kept = ROW_COUNT;
    DROP TABLE waypost_kept_events;
    RETURN v_kept;
END
$$;
COMMENT ON FUNCTION waypost_drop_event_partition IS 'Drops a partition of events but for those of the given runs, which go to the default partition.';

DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['waypost_coordinator', 'waypost_audit', 'waypost_reader'] LOOP
        IF to_regrole(v_role) IS NOT NULL THEN
            EXECUTE format('GRANT SELECT ON audit_drops TO %I', v_role);
        END IF;
    END LOOP;
END
$$;
