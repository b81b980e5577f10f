-- name: get
-- Approvals.get.
SELECT approval_id, run_id, agent, call_id, tool, args, args_digest, role, reason, tenant, requested_at, expires_at, state, decided_by,
       decided_at, decision_reason, policy_version, details
  FROM approvals
 WHERE approval_id = $1;

-- name: list_open
-- Approvals.list of those that wait for a decision, oldest first.
SELECT approval_id, run_id, agent, call_id, tool, args, args_digest, role, reason, tenant, requested_at, expires_at, state, decided_by,
       decided_at, decision_reason, policy_version, details
  FROM approvals
 WHERE state = 'open' AND ($1::text IS NULL OR role = $1) AND ($2::uuid IS NULL OR run_id = $2)
   AND ($4::text IS NULL OR tenant = $4) AND ($5::text[] IS NULL OR agent = ANY ($5))
 ORDER BY requested_at, approval_id
 LIMIT $3;

-- name: list_all
-- Approvals.list of all, newest first.
SELECT approval_id, run_id, agent, call_id, tool, args, args_digest, role, reason, tenant, requested_at, expires_at, state, decided_by,
       decided_at, decision_reason, policy_version, details
  FROM approvals
 WHERE ($1::text IS NULL OR role = $1) AND ($2::uuid IS NULL OR run_id = $2)
   AND ($4::text IS NULL OR tenant = $4) AND ($5::text[] IS NULL OR agent = ANY ($5))
 ORDER BY requested_at DESC, approval_id DESC
 LIMIT $3;

-- name: overview
-- Overview.open_approvals, every few seconds: what waits for people, through approvals_open, about runs of a replica's partitions.
SELECT a.agent, a.role, count(*) AS count, min(a.requested_at) AS oldest_at, min(a.expires_at) AS next_expiry_at
  FROM approvals a
  JOIN runs r ON r.run_id = a.run_id
 WHERE a.state = 'open' AND r.partition = ANY ($1::integer[])
 GROUP BY a.agent, a.role
 ORDER BY a.agent, a.role;
