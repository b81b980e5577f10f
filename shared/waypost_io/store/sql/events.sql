-- name: commit
-- Log.commit, when a batch has leases, events and runs only: most of them. Arguments: those of waypost_commit, in order.
SELECT waypost_commit(
    $1, $2, $3, $4, $5, $6,
    $7, $8, $9, $10, $11, $12, $13, $14,
    $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34
) AS held;

-- name: commit_all
-- Log.commit, for every other batch. Arguments: those of the four functions in order, without the `held` that they hand on.
SELECT held, run_id, call_id, attempt, state, gateway, lease_until, hard_deadline, result
  FROM waypost_commit_calls(
    waypost_commit_approvals(
        waypost_commit_rows(
            waypost_commit(
                $1, $2, $3, $4, $5, $6,
                $7, $8, $9, $10, $11, $12, $13, $14,
                $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34
            ),
            cardinality($2::integer[]),
            $35, $36, $37, $38,
            $39, $40, $41,
            $42, $43, $44, $45, $46, $47, $48, $49, $50, $51, $52, $53, $54, $55, $56, $57, $58,
            $59, $60, $61, $62, $63, $64,
            $65,
            $66, $67, $68, $69, $70, $71,
            $72, $73, $74, $75
        ),
        $76, $77, $78, $79, $80
    ),
    $81, $82, $83, $84, $85, $86, $87, $88, $89, $90,
    $91, $92, $93
);

-- name: load_events
-- Log.load_events: a run's history, for folding and for people.
SELECT run_id, seq, type, partition, position, recorded_at, data AS body, cause
  FROM events
 WHERE run_id = $1 AND seq > $2
 ORDER BY seq
 LIMIT $3;

-- name: load_events_of_types
-- Log.load_events with `types`.
SELECT run_id, seq, type, partition, position, recorded_at, data AS body, cause
  FROM events
 WHERE run_id = $1 AND seq > $2 AND type = ANY ($4::text[])
 ORDER BY seq
 LIMIT $3;

-- name: cause_seen
-- Log.cause_seen: was this message applied?
SELECT seq FROM events WHERE run_id = $1 AND cause = $2 AND cause <> '';

-- name: events_after
-- Log.events_after: the audit logger, and take-over.
SELECT run_id, seq, type, partition, position, recorded_at, data AS body, cause
  FROM events
 WHERE partition = $1 AND position > $2
 ORDER BY position
 LIMIT $3;

-- name: create_partitions
-- Maintenance.upkeep, and `waypost migrate`.
SELECT waypost_create_event_partitions($1) AS name;
