-- The list of runs with filters, newest first, within tens of milliseconds for a million runs, whatever the filters match.
-- Three ways, in this order:
--   1. What an index gives in order of run id (tenant, agent, stage, parent, time): read until the page is full.
--   2. Other filters: look at the newest p_look runs that 1 gives. What is frequent fills the page here.
--   3. What is left is rare: find all of it by its own index, however far down, and sort. OFFSET 0 keeps the planner from reading in order.
--      Labels are looked up together with agent and tenant (v_owner, which replaces the mark): each may be frequent where both are rare.
-- Status of a working run and time of change of an open one are in no index, for a step changes them (see runs): open runs are looked through.
-- The statement is made anew for each call, so that it is planned for the filters that are there. Every value is a parameter.
CREATE FUNCTION waypost_find_runs(
    p_tenant text, p_agent text, p_statuses text[], p_labels jsonb, p_parent uuid, p_text text, p_from uuid, p_before uuid,
    p_updated_from timestamptz, p_updated_to timestamptz, p_attention boolean, p_look integer, p_limit integer
) RETURNS SETOF runs LANGUAGE plpgsql STABLE AS $$
DECLARE
    c_staged  CONSTANT text[] := ARRAY['completed', 'failed', 'cancelled', 'paused', 'waiting_approval'];
    v_stages  text[] := ARRAY(SELECT s FROM unnest(p_statuses) s WHERE s = ANY (c_staged));
    v_working text[] := ARRAY(SELECT s FROM unnest(p_statuses) s WHERE s <> ALL (c_staged));
    v_keys    text := 'r.run_id >= $1 AND r.run_id < $2';
    v_rest    text := '';
    v_status  text := '';
    v_mark    CONSTANT text := '/* owner */';
    v_owner   text := '';
    v_source  text;
    v_values  text := 'SELECT r.* FROM ';
    v_found   integer := 0;
    v_looked  integer;
    v_floor   uuid;
BEGIN
    IF p_tenant IS NOT NULL THEN v_keys := v_keys || ' AND r.tenant = $3'; END IF;
    IF p_agent IS NOT NULL THEN v_keys := v_keys || ' AND r.agent = $4'; END IF;
    IF p_parent IS NOT NULL THEN v_keys := v_keys || ' AND r.parent = $5'; END IF;

    IF p_tenant IS NOT NULL OR p_agent IS NOT NULL THEN
        v_owner := ' AND ARRAY[''a'' || r.agent, ''t'' || r.tenant] @> $18';
    END IF;

    IF p_labels IS NOT NULL THEN v_rest := v_rest || ' AND r.labels @> $8 AND r.labels <> ''{}''' || v_mark; END IF;
    IF p_updated_from IS NOT NULL THEN v_rest := v_rest || ' AND r.updated_at >= $9 AND (r.open OR r.ended_at >= $9)'; END IF;
    IF p_updated_to IS NOT NULL THEN v_rest := v_rest || ' AND r.updated_at < $10'; END IF;
    IF p_attention THEN
        v_rest := v_rest || ' AND r.open AND r.run_id IN (SELECT a.run_id FROM runs a WHERE a.stage IN (''paused'', ''waiting_approval'')'
                         || ' UNION ALL SELECT l.run_id FROM tool_ledger l WHERE l.doubt)';
    END IF;
    IF p_text IS NOT NULL THEN
        v_rest := v_rest || ' AND ('
            || '(r.correlation_id ~>=~ $11 AND r.correlation_id ~<~ $12 AND r.correlation_id <> r.run_id::text)'
            || ' OR (r.idempotency_key ~>=~ $11 AND r.idempotency_key ~<~ $12 AND r.idempotency_key IS NOT NULL)'
            || CASE WHEN p_text ~ '^[^=]+=' THEN ' OR (r.labels @> $13 AND r.labels <> ''{}''' || v_mark || ')' ELSE '' END
            || CASE WHEN p_text ~ '^[0-9a-f]{4}[0-9a-f-]{0,32}$' THEN ' OR (r.run_id >= $14 AND r.run_id <= $15)' ELSE '' END
            || ')';
    END IF;
    IF cardinality(v_working) > 0 OR (cardinality(v_stages) > 0 AND v_rest <> '') THEN
        v_status := CASE WHEN cardinality(v_working) = 0 THEN ' AND r.stage = ANY ($6)'
                         WHEN cardinality(v_stages) = 0 THEN ' AND r.open AND r.status = ANY ($7)'
                         ELSE ' AND (r.stage = ANY ($6) OR (r.open AND r.status = ANY ($7)))' END;
    END IF;

    -- several stages are each in order, together they are merged
    IF cardinality(v_stages) > 0 AND cardinality(v_working) = 0 THEN
        SELECT '(SELECT o.* FROM (' || string_agg('(SELECT r.* FROM runs r WHERE r.stage = ' || quote_literal(s) || ' AND ' || v_keys
                                                  || ' ORDER BY r.run_id DESC LIMIT $17)', ' UNION ALL ')
               || ') o ORDER BY o.run_id DESC LIMIT $17) r'
          INTO v_source
          FROM unnest(v_stages) s;
    ELSE
        v_source := '(SELECT r.* FROM runs r WHERE ' || v_keys || ' ORDER BY r.run_id DESC LIMIT $17) r';
    END IF;

    IF v_rest = '' AND v_status = '' THEN
        p_look := p_limit;
    END IF;
    IF NOT p_attention THEN
        RETURN QUERY EXECUTE v_values || v_source || ' WHERE true' || v_rest || v_status || ' ORDER BY r.run_id DESC LIMIT $16'
            USING p_from, p_before, p_tenant, p_agent, p_parent, v_stages, v_working, p_labels, p_updated_from, p_updated_to,
                  p_text, p_text || chr(1114111), waypost_label_of(p_text), waypost_uuid_prefix(p_text, '0'), waypost_uuid_prefix(p_text, 'f'),
                  p_limit, p_look;
        GET DIAGNOSTICS v_found = ROW_COUNT;
        IF v_found >= p_limit OR (v_rest = '' AND v_status = '') THEN
            RETURN;
        END IF;
        EXECUTE 'SELECT count(*), (min(r.run_id::text))::uuid FROM ' || v_source INTO v_looked, v_floor
            USING p_from, p_before, p_tenant, p_agent, p_parent, v_stages, v_working, p_labels, p_updated_from, p_updated_to,
                  p_text, p_text, NULL::jsonb, NULL::uuid, NULL::uuid, p_limit, p_look;
        IF v_looked < p_look THEN
            RETURN;
        END IF;
    ELSE
        v_floor := p_before;
    END IF;
    RETURN QUERY EXECUTE 'SELECT r.* FROM (SELECT r.* FROM runs r WHERE ' || v_keys || replace(v_rest, v_mark, v_owner) || v_status
                         || ' OFFSET 0) r ORDER BY r.run_id DESC LIMIT $16'
        USING p_from, v_floor, p_tenant, p_agent, p_parent, v_stages, v_working, p_labels, p_updated_from, p_updated_to,
              p_text, p_text || chr(1114111), waypost_label_of(p_text), waypost_uuid_prefix(p_text, '0'), waypost_uuid_prefix(p_text, 'f'),
              p_limit - v_found, p_look, array_remove(ARRAY['a' || p_agent, 't' || p_tenant], NULL);
END
$$;
COMMENT ON FUNCTION waypost_find_runs IS 'Runs by filters, newest first: a page of at most p_limit.';

CREATE FUNCTION waypost_label_of(p_text text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_text ~ '^[^=]+=' THEN jsonb_build_object(split_part(p_text, '=', 1), substr(p_text, strpos(p_text, '=') + 1)) END
$$;
COMMENT ON FUNCTION waypost_label_of IS 'The label that key=value stands for; NULL for another text.';

CREATE FUNCTION waypost_uuid_prefix(p_text text, p_fill text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_text ~ '^[0-9a-f]{4}[0-9a-f-]{0,32}$' AND length(replace(p_text, '-', '')) <= 32
                THEN rpad(replace(p_text, '-', ''), 32, p_fill)::uuid END
$$;
COMMENT ON FUNCTION waypost_uuid_prefix IS 'The first (p_fill 0) or last (f) UUID that begins like p_text; NULL for another text.';
