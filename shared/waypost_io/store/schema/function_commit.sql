-- A group commit: one statement, one round trip, and inside it an explicit order of locks:
-- partitions (sorted), events, runs | timers, approvals, inbox, notices, blobs | tool_ledger.
-- The gateway takes approvals before tool_ledger too, so the two cannot deadlock.
-- Each part takes `held`, the partitions whose lease was confirmed, and returns it for the next.
-- A row without a partition of its own belongs to where the stored run is; without one it may be written.
-- Plans are made once and look rows up by index: batches are small, and a plan made for a young table must not scan a grown one.
-- A changed signature gets a new name (waypost_commit_2), so that coordinators of two versions can run side by side.

CREATE FUNCTION waypost_commit(
    p_owner text,
    l_partition integer[], l_epoch bigint[], l_first bigint[], l_last bigint[], l_published bigint[],
    e_run_id uuid[], e_seq bigint[], e_type text[], e_partition integer[], e_position bigint[], e_recorded_at timestamptz[],
    e_body bytea[], e_cause text[],
    r_run_id uuid[], r_seq bigint[], r_created_at timestamptz[], r_updated_at timestamptz[], r_deadline_at timestamptz[], r_parent uuid[],
    r_partition integer[], r_state_version integer[], r_open boolean[], r_held boolean[], r_tenant text[], r_agent text[], r_build text[],
    r_status text[], r_worker text[], r_correlation_id text[], r_idempotency_key text[], r_labels jsonb[], r_state bytea[],
    r_outcome bytea[]
) RETURNS integer[] LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_held      integer[];
    v_overtaken integer;
BEGIN
    -- l_first and l_last are those of the partition's events here, NULL if it has none. If the stored position has reached the
    -- first, another commit under the same epoch came before: one that its sender had given up as lost, or this one itself.
    SELECT array_agg(c.partition), min(c.partition) FILTER (WHERE c.position >= c.first)
      INTO v_held, v_overtaken
      FROM (SELECT p.partition, p.position, l.first
              FROM partitions p
              JOIN unnest(l_partition, l_epoch, l_first) AS l (partition, epoch, first) ON l.partition = p.partition
             WHERE p.epoch = l.epoch AND p.owner = p_owner
             ORDER BY p.partition
               FOR NO KEY UPDATE OF p) AS c;
    IF v_held IS NULL THEN
        RETURN '{}';
    END IF;
    IF v_overtaken IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'WP001', MESSAGE = format('positions of partition %s are taken', v_overtaken);
    END IF;

    UPDATE partitions p
       SET position = coalesce(l.last, p.position), published = l.published
      FROM unnest(l_partition, l_last, l_published) AS l (partition, last, published)
     WHERE p.partition = l.partition AND p.partition = ANY (v_held) AND (l.last IS NOT NULL OR l.published <> p.published);

    INSERT INTO events (run_id, seq, type, partition, position, recorded_at, data, cause)
    SELECT e.run_id, e.seq, e.type, e.partition, e.position, e.recorded_at, e.body, e.cause
      FROM unnest(e_run_id, e_seq, e_type, e_partition, e_position, e_recorded_at, e_body, e_cause)
           AS e (run_id, seq, type, partition, position, recorded_at, body, cause)
     WHERE e.partition = ANY (v_held);

    INSERT INTO runs AS old (run_id, seq, created_at, updated_at, deadline_at, parent, partition, state_version, open, held, tenant, agent,
                             build, status, worker, correlation_id, idempotency_key, labels, state, outcome)
    SELECT r.*
      FROM unnest(r_run_id, r_seq, r_created_at, r_updated_at, r_deadline_at, r_parent, r_partition, r_state_version, r_open, r_held,
                  r_tenant, r_agent, r_build, r_status, r_worker, r_correlation_id, r_idempotency_key, r_labels, r_state, r_outcome)
           AS r (run_id, seq, created_at, updated_at, deadline_at, parent, partition, state_version, open, held,
                 tenant, agent, build, status, worker, correlation_id, idempotency_key, labels, state, outcome)
     WHERE r.partition = ANY (v_held)
        ON CONFLICT (run_id) DO UPDATE
       SET seq = excluded.seq, updated_at = excluded.updated_at, deadline_at = excluded.deadline_at,
           state_version = excluded.state_version, open = excluded.open, held = excluded.held, build = excluded.build,
           status = excluded.status, worker = excluded.worker, state = excluded.state, outcome = excluded.outcome
     WHERE old.seq <= excluded.seq;
    RETURN v_held;
END
$$;
COMMENT ON FUNCTION waypost_commit IS 'Confirm leases, then write events and runs of the partitions still held. Returns those.';

CREATE FUNCTION waypost_commit_rows(
    p_held integer[], p_leases integer,
    t_run_id uuid[], t_timer_id text[], t_partition integer[], t_due_at timestamptz[],
    c_run_id uuid[], c_timer_id text[], c_partition integer[],
    a_partition integer[], a_approval_id text[], a_run_id uuid[], a_agent text[], a_call_id text[], a_tool text[], a_args bytea[],
    a_args_digest text[], a_role text[], a_reason text[], a_tenant text[], a_requested_at timestamptz[], a_expires_at timestamptz[],
    a_state text[], a_decided_by text[], a_decided_at timestamptz[], a_decision_reason text[],
    i_sender integer[], i_message_id text[], i_run_id uuid[], i_partition integer[], i_subject text[], i_body bytea[],
    i_removed text[],
    n_partition integer[], n_notice_id text[], n_run_id uuid[], n_agent text[], n_at timestamptz[], n_body bytea[],
    b_sha256 text[], b_index integer[], b_chunks integer[], b_data bytea[]
) RETURNS integer[] LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF cardinality(p_held) = 0 THEN
        RETURN p_held;
    END IF;
    IF cardinality(c_run_id) > 0 THEN -- before the timers that are set: a timer too many is harmless, a lost one is not
        DELETE FROM timers t
         USING unnest(c_run_id, c_timer_id, c_partition) AS c (run_id, timer_id, partition)
         WHERE t.run_id = c.run_id AND t.timer_id = c.timer_id
           AND coalesce(c.partition, (SELECT r.partition FROM runs r WHERE r.run_id = c.run_id), p_held[1]) = ANY (p_held);
    END IF;
    IF cardinality(t_run_id) > 0 THEN
        INSERT INTO timers (run_id, timer_id, partition, due_at)
        SELECT t.run_id, t.timer_id, t.partition, t.due_at
          FROM unnest(t_run_id, t_timer_id, t_partition, t_due_at) AS t (run_id, timer_id, partition, due_at)
         WHERE t.partition = ANY (p_held)
            ON CONFLICT (run_id, timer_id) DO UPDATE SET due_at = excluded.due_at, partition = excluded.partition;
    END IF;
    IF cardinality(a_approval_id) > 0 THEN
        INSERT INTO approvals AS old (approval_id, run_id, agent, call_id, tool, args, args_digest, role, reason, tenant, requested_at,
                                      expires_at, state, decided_by, decided_at, decision_reason)
        SELECT a.approval_id, a.run_id, a.agent, a.call_id, a.tool, a.args, a.args_digest, a.role, a.reason, a.tenant, a.requested_at,
               a.expires_at, a.state, a.decided_by, a.decided_at, a.decision_reason
          FROM unnest(a_partition, a_approval_id, a_run_id, a_agent, a_call_id, a_tool, a_args, a_args_digest, a_role, a_reason, a_tenant,
                      a_requested_at, a_expires_at, a_state, a_decided_by, a_decided_at, a_decision_reason)
               AS a (partition, approval_id, run_id, agent, call_id, tool, args, args_digest, role, reason, tenant,
                     requested_at, expires_at, state, decided_by, decided_at, decision_reason)
         WHERE coalesce(a.partition, (SELECT r.partition FROM runs r WHERE r.run_id = a.run_id), p_held[1]) = ANY (p_held)
            ON CONFLICT (approval_id) DO UPDATE
           SET state = excluded.state, decided_by = excluded.decided_by, decided_at = excluded.decided_at,
               decision_reason = excluded.decision_reason
         WHERE old.state <> 'used'; -- used once, for good
    END IF;
    IF cardinality(i_message_id) > 0 THEN
        IF array_position(i_sender, NULL) IS NOT NULL AND cardinality(p_held) < p_leases THEN
            RAISE EXCEPTION USING ERRCODE = 'WP002', MESSAGE = 'a lease is lost and an inbox row names no sender';
        END IF;
        INSERT INTO inbox (message_id, run_id, partition, subject, body)
        SELECT i.message_id, i.run_id, i.partition, i.subject, i.body
          FROM unnest(i_sender, i_message_id, i_run_id, i_partition, i_subject, i_body)
               AS i (sender, message_id, run_id, partition, subject, body)
         WHERE i.sender IS NULL OR i.sender = ANY (p_held)
            ON CONFLICT (message_id) DO NOTHING;
    END IF;
    IF cardinality(i_removed) > 0 THEN
        DELETE FROM inbox i WHERE i.message_id = ANY (i_removed) AND i.partition = ANY (p_held);
    END IF;
    IF cardinality(n_notice_id) > 0 THEN
        INSERT INTO notices (notice_id, run_id, agent, at, body)
        SELECT n.notice_id, n.run_id, n.agent, n.at, n.body
          FROM unnest(n_partition, n_notice_id, n_run_id, n_agent, n_at, n_body) AS n (partition, notice_id, run_id, agent, at, body)
         WHERE coalesce(n.partition, (SELECT r.partition FROM runs r WHERE r.run_id = n.run_id), p_held[1]) = ANY (p_held)
            ON CONFLICT (notice_id) DO NOTHING;
    END IF;
    IF cardinality(b_sha256) > 0 THEN
        INSERT INTO blobs AS old (sha256, index, chunks, data)
        SELECT b.sha256, b.index, b.chunks, b.data
          FROM unnest(b_sha256, b_index, b_chunks, b_data) AS b (sha256, index, chunks, data)
         ORDER BY b.sha256, b.index
            ON CONFLICT (sha256, index) DO UPDATE SET chunks = excluded.chunks, data = excluded.data
         WHERE (old.chunks, old.data) IS DISTINCT FROM (excluded.chunks, excluded.data); -- a broken upload is mended
    END IF;
    RETURN p_held;
END
$$;
COMMENT ON FUNCTION waypost_commit_rows IS 'What fewer commits write: timers, approvals, inbox, notices, blobs. Returns p_held.';

CREATE FUNCTION waypost_commit_approvals(
    p_held integer[], a_partition integer[], a_approval_id text[], a_run_id uuid[], a_policy_version text[], a_details bytea[]
) RETURNS integer[] LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF cardinality(p_held) > 0 AND cardinality(a_approval_id) > 0 THEN
        UPDATE approvals old
           SET policy_version = a.policy_version, details = a.details
          FROM unnest(a_partition, a_approval_id, a_run_id, a_policy_version, a_details)
               AS a (partition, approval_id, run_id, policy_version, details)
         WHERE old.approval_id = a.approval_id AND old.state <> 'used'
           AND coalesce(a.partition, (SELECT r.partition FROM runs r WHERE r.run_id = a.run_id), p_held[1]) = ANY (p_held);
    END IF;
    RETURN p_held;
END
$$;
COMMENT ON FUNCTION waypost_commit_approvals IS 'What approvals have besides: policy version and details. Returns p_held.';

CREATE FUNCTION waypost_commit_calls(
    p_held integer[],
    p_partition integer[], p_run_id uuid[], p_call_id text[], p_tool text[], p_attempt integer[], p_args_digest text[], p_effect text[],
    p_idempotency_key text[], p_approval_id text[], p_force boolean[],
    v_partition integer[], v_run_id uuid[], v_call_id text[]
) RETURNS TABLE (held integer[], run_id uuid, call_id text, attempt integer, state text, gateway text, lease_until timestamptz,
                 hard_deadline timestamptz, result bytea) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT p_held, NULL::uuid, NULL, NULL::integer, NULL, NULL, NULL::timestamptz, NULL::timestamptz, NULL::bytea;
    IF cardinality(p_held) = 0 THEN
        RETURN;
    END IF;
    IF cardinality(v_run_id) > 0 THEN
        -- Rows that are not `permitted` are touched too: only then does the answer show what a concurrent start made of them.
        RETURN QUERY
        UPDATE tool_ledger l
           SET state = CASE l.state WHEN 'permitted' THEN 'revoked' ELSE l.state END
          FROM unnest(v_partition, v_run_id, v_call_id) AS v (partition, run_id, call_id)
         WHERE l.run_id = v.run_id AND (v.call_id IS NULL OR l.call_id = v.call_id)
           AND l.state IN ('permitted', 'started', 'doubt', 'revoked')
           AND coalesce(v.partition, (SELECT r.partition FROM runs r WHERE r.run_id = v.run_id), p_held[1]) = ANY (p_held)
     RETURNING p_held, l.run_id, l.call_id, l.attempt, l.state, l.gateway, l.lease_until, l.hard_deadline, l.result;
    END IF;
    IF true = ANY (p_force) THEN
        UPDATE tool_ledger l
           SET state = 'revoked'
          FROM unnest(p_partition, p_run_id, p_call_id, p_force) AS p (partition, run_id, call_id, force)
         WHERE l.run_id = p.run_id AND l.call_id = p.call_id AND p.force
           AND coalesce(p.partition, (SELECT r.partition FROM runs r WHERE r.run_id = p.run_id), p_held[1]) = ANY (p_held);
    END IF;
    IF cardinality(p_run_id) > 0 THEN
        INSERT INTO tool_ledger AS old (run_id, call_id, tool, attempt, args_digest, effect, idempotency_key, approval_id, state)
        SELECT p.run_id, p.call_id, p.tool, p.attempt, p.args_digest, p.effect, p.idempotency_key, p.approval_id, 'permitted'
          FROM unnest(p_partition, p_run_id, p_call_id, p_tool, p_attempt, p_args_digest, p_effect, p_idempotency_key, p_approval_id)
               AS p (partition, run_id, call_id, tool, attempt, args_digest, effect, idempotency_key, approval_id)
         WHERE coalesce(p.partition, (SELECT r.partition FROM runs r WHERE r.run_id = p.run_id), p_held[1]) = ANY (p_held)
            ON CONFLICT (run_id, call_id) DO UPDATE
           SET tool = excluded.tool, attempt = excluded.attempt, args_digest = excluded.args_digest, effect = excluded.effect,
               idempotency_key = excluded.idempotency_key, approval_id = excluded.approval_id, state = 'permitted',
               spent = old.spent AND old.approval_id IS NOT DISTINCT FROM excluded.approval_id,
               gateway = '', lease_until = NULL, hard_deadline = NULL, result = NULL, written_at = clock_timestamp()
         WHERE old.state = 'revoked'
            OR (old.state IN ('failed', 'doubt', 'permitted') AND old.attempt < excluded.attempt);
    END IF;
END
$$;
COMMENT ON FUNCTION waypost_commit_calls IS 'Revoke, then write permits; a first row with p_held, then the ledger rows that a revocation met.';
