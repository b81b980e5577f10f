-- Quorum, questions and the policy that asks: what an approval has besides.
ALTER TABLE approvals
    ADD COLUMN policy_version text NOT NULL DEFAULT '',
    ADD COLUMN details        bytea;
COMMENT ON TABLE approvals IS 'writer: coordinator; the gateway moves granted to used. A question that an agent asks is a row too.';
COMMENT ON COLUMN approvals.details IS 'JSON: quorum, who has approved so far, the question and its schema, what it replaces.';

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
