-- name: start
-- Ledger.start: permitted -> started. The approval is locked before the row, as in a commit, and both are judged as they are then.
WITH approval AS MATERIALIZED (
    SELECT a.approval_id, a.state
      FROM approvals a
     WHERE a.approval_id = $5::text AND a.run_id = $1 AND a.call_id = $2 AND a.args_digest = $4
       AND a.state IN ('granted', 'used') AND a.expires_at > clock_timestamp()
       FOR NO KEY UPDATE
), permit AS MATERIALIZED (
    SELECT l.run_id, l.call_id
      FROM tool_ledger l
      LEFT JOIN approval ON approval.approval_id = l.approval_id
     WHERE l.run_id = $1 AND l.call_id = $2 AND l.attempt = $3 AND l.args_digest = $4 AND l.state = 'permitted'
       AND l.approval_id IS NOT DISTINCT FROM $5::text
       AND (l.approval_id IS NULL OR approval.state = 'granted' OR (approval.state = 'used' AND l.spent))
       FOR NO KEY UPDATE OF l
), used AS (
    UPDATE approvals a
       SET state = 'used'
      FROM permit
     WHERE a.approval_id = $5::text AND a.state = 'granted'
)
UPDATE tool_ledger l
   SET state = 'started', spent = l.approval_id IS NOT NULL, gateway = $6,
       lease_until = clock_timestamp() + make_interval(secs => $7), hard_deadline = clock_timestamp() + make_interval(secs => $8)
  FROM permit
 WHERE l.run_id = permit.run_id AND l.call_id = permit.call_id
RETURNING l.run_id, l.call_id, l.attempt, l.state, l.gateway, l.lease_until, l.hard_deadline, l.result;

-- name: take_over
-- Ledger.take_over: the gateway that had started it is gone.
UPDATE tool_ledger
   SET gateway = $4, lease_until = clock_timestamp() + make_interval(secs => $5),
       hard_deadline = clock_timestamp() + make_interval(secs => $6)
 WHERE run_id = $1 AND call_id = $2 AND attempt = $3 AND state = 'started' AND lease_until <= clock_timestamp()
RETURNING run_id;

-- name: extend
-- Ledger.extend: a gateway keeps a long call.
UPDATE tool_ledger
   SET lease_until = clock_timestamp() + make_interval(secs => $4)
 WHERE run_id = $1 AND call_id = $2 AND state = 'started' AND gateway = $3
RETURNING run_id;

-- name: settle
-- Ledger.settle: the answer is kept for a repeat of the call.
UPDATE tool_ledger
   SET state = $4, result = $5
 WHERE run_id = $1 AND call_id = $2 AND attempt = $3 AND state IN ('started', 'doubt') AND ($6::text IS NULL OR gateway = $6)
RETURNING run_id;

-- name: get
-- Ledger.get, and Ledger.start for a row that could not be started.
SELECT run_id, call_id, attempt, state, gateway, lease_until, hard_deadline, result, args_digest
  FROM tool_ledger
 WHERE run_id = $1 AND call_id = $2;

-- name: of_run
-- Ledger.of_run: a person looks at a run.
SELECT run_id, call_id, attempt, state, gateway, lease_until, hard_deadline, result, args_digest
  FROM tool_ledger
 WHERE run_id = $1
 ORDER BY call_id;
