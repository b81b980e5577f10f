-- name: reserve
-- Keys.reserve: the new ones. Sorted, or two batches deadlock.
INSERT INTO idempotency (tenant, agent, key, run_id, digest)
SELECT n.tenant, n.agent, n.key, n.run_id, n.digest
  FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[]) AS n (tenant, agent, key, run_id, digest)
 ORDER BY n.tenant COLLATE "C", n.agent COLLATE "C", n.key COLLATE "C"
    ON CONFLICT (tenant, agent, key) DO NOTHING
RETURNING tenant, agent, key, run_id, digest;

-- name: reserved
-- Keys.reserve: those that were taken before. A statement of its own, because the insert's snapshot may be too old to see them.
SELECT i.tenant, i.agent, i.key, i.run_id, i.digest
  FROM idempotency i
  JOIN unnest($1::text[], $2::text[], $3::text[]) AS n (tenant, agent, key)
    ON i.tenant = n.tenant AND i.agent = n.agent AND i.key = n.key;
