-- name: of_run
-- Reads.notices: what supervisors were told of a run.
SELECT notice_id, run_id, agent, at, body FROM notices WHERE run_id = $1 ORDER BY at, notice_id;
