-- name: put
-- Definitions.put. Sorted by its caller, or two announcements deadlock; a repeat raises put_order, so the last put is current.
INSERT INTO definitions (kind, name, build, body)
SELECT n.kind, n.name, n.build, n.body
  FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS n (kind, name, build, body)
    ON CONFLICT (kind, name, build) DO UPDATE
   SET body = excluded.body, put_at = clock_timestamp(), put_order = DEFAULT;

-- name: all
-- Definitions.agents and Definitions.tools: per name the current one comes last.
SELECT body FROM definitions WHERE kind = $1 ORDER BY name, put_order;
